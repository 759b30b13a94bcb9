/* What the parts of the comparison share: see _identity.c. */

#ifndef STATEGUARD_IDENTITY_H
#define STATEGUARD_IDENTITY_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#error "without the interpreter lock, another thread could change an object while it is read: use compare.py"
#endif

/* Take integers, and nothing that would have to be asked for one. Whether it could. */
int identity_integers(PyObject *const *args, Py_ssize_t *into, int n);

#define MOST_LEVELS 100 /* of the stack of C, which is not to overflow */

/* The function `alike`: see _identity_values.c. */
PyObject *identity_alike(PyObject *module, PyObject *const *args, Py_ssize_t n);

/* The function `canonical`: see _identity_bytes.c. */
PyObject *identity_canonical(PyObject *module, PyObject *const *args, Py_ssize_t n);

#endif
