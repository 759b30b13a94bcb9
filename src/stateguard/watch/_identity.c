/* Whether watched objects still refer to what they referred to: the innermost loop of every check.
 *
 * gc.get_referents() lists what objects refer to, so that Python can compare that list with an earlier one; the
 * list takes a reference to each of them, which writes to as many places in memory, and is thrown away. Here each
 * is compared where it is met. No application code runs, nothing is allocated, no reference is taken: under the
 * interpreter lock, one call sees one instant. compare.py says the same in Python, for installations without a
 * compiled part and for interpreters without that lock.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

#ifdef Py_GIL_DISABLED
#error "without the interpreter lock, another thread could change an object while it is read: use compare.py"
#endif

typedef struct {
    PyObject *const *next;
    PyObject *const *end;
    int differs; /* for good: some traverse functions go on after what should have ended them */
} Place;

static int
meet(PyObject *referent, void *arg)
{
    Place *place = arg;
    if (place->differs || place->next == place->end || *place->next != referent) {
        place->differs = 1;
        return 1; /* ends the traversal */
    }
    place->next++;
    return 0;
}

static int
two_arguments(const char *name, Py_ssize_t given, int right)
{
    if (given == 2 && right) {
        return 1;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes a tuple and a list", name);
    return 0;
}

PyDoc_STRVAR(same_referents_doc,
"same_referents(nodes, before, /)\n--\n\n"
"Whether gc.get_referents(*nodes) would give the very objects in the list `before`.");

static PyObject *
same_referents(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    if (!two_arguments("same_referents", n, n == 2 && PyTuple_Check(args[0]) && PyList_Check(args[1]))) {
        return NULL;
    }
    PyObject *const *before = ((PyListObject *)args[1])->ob_item;
    Place place = {before, before + PyList_GET_SIZE(args[1]), 0};
    Py_ssize_t nodes = PyTuple_GET_SIZE(args[0]);
    for (Py_ssize_t i = 0; i < nodes; i++) {
        PyObject *node = PyTuple_GET_ITEM(args[0], i);
        traverseproc traverse = Py_TYPE(node)->tp_traverse;
        /* As gc.get_referents() does: static types have a traverse function that must not be called. */
        if (traverse != NULL && PyObject_IS_GC(node)) {
            traverse(node, meet, &place);
            if (place.differs) {
                Py_RETURN_FALSE;
            }
        }
    }
    return PyBool_FromLong(place.next == place.end);
}

PyDoc_STRVAR(same_keys_doc,
"same_keys(dicts, before, /)\n--\n\n"
"Whether the keys of all `dicts`, one after the other, are the very objects in the list `before`.");

static PyObject *
same_keys(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    if (!two_arguments("same_keys", n, n == 2 && PyTuple_Check(args[0]) && PyList_Check(args[1]))) {
        return NULL;
    }
    PyObject *const *before = ((PyListObject *)args[1])->ob_item;
    Place place = {before, before + PyList_GET_SIZE(args[1]), 0};
    Py_ssize_t dicts = PyTuple_GET_SIZE(args[0]);
    for (Py_ssize_t i = 0; i < dicts; i++) {
        PyObject *dict = PyTuple_GET_ITEM(args[0], i);
        PyObject *key;
        Py_ssize_t at = 0;
        if (!PyDict_Check(dict)) {
            PyErr_SetString(PyExc_TypeError, "same_keys() takes dictionaries");
            return NULL;
        }
        if (PyDict_GET_SIZE(dict) > place.end - place.next) {
            Py_RETURN_FALSE;
        }
        while (PyDict_Next(dict, &at, &key, NULL)) {
            if (meet(key, &place)) {
                Py_RETURN_FALSE;
            }
        }
    }
    return PyBool_FromLong(place.next == place.end);
}

PyDoc_STRVAR(same_items_doc,
"same_items(node, before, start, count, /)\n--\n\n"
"Whether `count` items of the list `node`, from `start` on, are the very objects in the list `before` there.");

static PyObject *
same_items(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    if (n != 4 || !PyList_Check(args[0]) || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "same_items() takes two lists, a start and a count");
        return NULL;
    }
    Py_ssize_t start = PyLong_AsSsize_t(args[2]);
    Py_ssize_t count = PyLong_AsSsize_t(args[3]);
    if ((start == -1 || count == -1) && PyErr_Occurred()) {
        return NULL;
    }
    if (start < 0 || count < 0) {
        PyErr_SetString(PyExc_ValueError, "same_items(): start and count must not be negative");
        return NULL;
    }
    if (count == 0) {
        Py_RETURN_TRUE;
    }
    /* Asked for now: an __index__ may have changed the lists. No sum that could overflow. */
    for (int i = 0; i < 2; i++) {
        Py_ssize_t size = PyList_GET_SIZE(args[i]);
        if (start > size || count > size - start) {
            Py_RETURN_FALSE;
        }
    }
    PyObject *const *now = ((PyListObject *)args[0])->ob_item + start;
    PyObject *const *before = ((PyListObject *)args[1])->ob_item + start;
    return PyBool_FromLong(memcmp(now, before, (size_t)count * sizeof(PyObject *)) == 0);
}

static PyMethodDef methods[] = {
    {"same_referents", (PyCFunction)(void (*)(void))same_referents, METH_FASTCALL, same_referents_doc},
    {"same_keys", (PyCFunction)(void (*)(void))same_keys, METH_FASTCALL, same_keys_doc},
    {"same_items", (PyCFunction)(void (*)(void))same_items, METH_FASTCALL, same_items_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED}, /* it keeps nothing */
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "stateguard.watch._identity",
    .m_doc = "Compares what objects refer to with what they referred to. See compare.py.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__identity(void)
{
    return PyModuleDef_Init(&definition);
}
