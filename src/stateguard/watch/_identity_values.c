/* Whether two values that are two objects say the same, as far as that takes no application code.
 *
 * A request that puts an equal value in place of another has changed nothing that anyone could read. To know that
 * of a page of records means to compare it to the end, while the request waits. Lists, tuples, dictionaries whose keys
 * are strings or integers, and the values without parts in them are compared here, and nothing but them and none of
 * their subclasses: nothing is allocated that the collector counts, no reference is given up, so that no finalizer
 * can run, and one call sees one instant. Pairs of other objects are left to the caller. alike.py says the same in
 * Python.
 */

#include "_identity.h"

/* The pair of containers that is being compared, and those that hold it. */
typedef struct Level {
    PyObject *a, *b;
    const struct Level *above;
    int depth;
} Level;

/* Pairs that have not been compared, borrowed. */
typedef struct {
    PyObject **items;
    Py_ssize_t count, room;
    Py_ssize_t left; /* pairs that may still be looked at */
    int deep;        /* levels below which nothing is looked into */
} Rest;

#define KEYS 8    /* that are looked at in the time in which one part is compared */
#define TEXT 4096 /* characters or bytes, likewise */

typedef enum { DIFFER, ALIKE, FAILED } Verdict;

static Verdict
leave(Rest *rest, PyObject *a, PyObject *b)
{
    if (rest->count == rest->room) {
        Py_ssize_t room = rest->room ? 2 * rest->room : 16;
        PyObject **items = PyMem_Realloc(rest->items, (size_t)room * sizeof(PyObject *));
        if (items == NULL) {
            PyErr_NoMemory();
            return FAILED;
        }
        rest->items = items;
        rest->room = room;
    }
    rest->items[rest->count++] = a;
    rest->items[rest->count++] = b;
    return ALIKE;
}

/* Whether all keys are strings or integers, of which no comparison runs application code. */
static int
has_plain_keys(PyObject *dict)
{
    PyObject *key;
    Py_ssize_t at = 0;
    while (PyDict_Next(dict, &at, &key, NULL)) {
        if (!PyUnicode_CheckExact(key) && !PyLong_CheckExact(key)) {
            return 0;
        }
    }
    return 1;
}

/* As repr() tells them apart: zero has a sign, what is not a number is the same as another. */
static int
same_float(double a, double b)
{
    return a != a ? b != b : memcmp(&a, &b, sizeof(double)) == 0;
}

static Verdict
verdict(int same)
{
    return same < 0 ? FAILED : same ? ALIKE : DIFFER;
}

static Verdict compare(PyObject *a, PyObject *b, const Level *above, Rest *rest);

static Verdict
compare_parts(PyObject **these, PyObject **those, Py_ssize_t n, const Level *level, Rest *rest)
{
    Verdict found = ALIKE;
    for (Py_ssize_t i = 0; i < n && found == ALIKE; i++) {
        found = compare(these[i], those[i], level, rest);
    }
    return found;
}

static Verdict
compare_dicts(PyObject *a, PyObject *b, const Level *level, Rest *rest)
{
    PyObject *key, *value;
    Py_ssize_t at = 0;
    Verdict found = ALIKE;
    while (found == ALIKE && PyDict_Next(a, &at, &key, &value)) {
        PyObject *other = PyDict_GetItemWithError(b, key); /* among plain keys */
        if (other == NULL) {
            return PyErr_Occurred() ? FAILED : DIFFER;
        }
        found = compare(value, other, level, rest);
    }
    return found;
}

static Verdict
compare(PyObject *a, PyObject *b, const Level *above, Rest *rest)
{
    rest->left--;
    if (a == b) {
        return ALIKE;
    }
    PyTypeObject *type = Py_TYPE(a);
    if (type != Py_TYPE(b)) {
        return DIFFER;
    }
    if (type == &PyUnicode_Type) {
        rest->left -= PyUnicode_GET_LENGTH(a) / TEXT;
        return verdict(PyUnicode_GET_LENGTH(a) == PyUnicode_GET_LENGTH(b) ? PyUnicode_Compare(a, b) == 0 : 0);
    }
    if (type == &PyBytes_Type) {
        rest->left -= PyBytes_GET_SIZE(a) / TEXT;
        return verdict(PyObject_RichCompareBool(a, b, Py_EQ));
    }
    if (type == &PyLong_Type) {
        return verdict(PyObject_RichCompareBool(a, b, Py_EQ));
    }
    if (type == &PyFloat_Type) {
        return verdict(same_float(PyFloat_AS_DOUBLE(a), PyFloat_AS_DOUBLE(b)));
    }
    if (type == &PyBool_Type) {
        return DIFFER;
    }
    int is_dict = type == &PyDict_Type;
    if (!is_dict && type != &PyList_Type && type != &PyTuple_Type) {
        return leave(rest, a, b);
    }
    Py_ssize_t n = is_dict ? PyDict_GET_SIZE(a) : Py_SIZE(a);
    if (n != (is_dict ? PyDict_GET_SIZE(b) : Py_SIZE(b)) || n > rest->left) {
        return DIFFER;
    }
    if (is_dict) {
        rest->left -= n / KEYS; /* many may refer to the same one */
        if (!(has_plain_keys(a) && has_plain_keys(b))) {
            return leave(rest, a, b);
        }
    }
    for (const Level *level = above; level != NULL; level = level->above) {
        if (level->a == a && level->b == b) {
            return ALIKE; /* it holds itself, and so does the other */
        }
    }
    const Level level = {a, b, above, above == NULL ? 1 : above->depth + 1};
    if (level.depth > rest->deep) {
        return ALIKE;
    }
    if (is_dict) {
        return compare_dicts(a, b, &level, rest);
    }
    if (type == &PyList_Type) {
        return compare_parts(((PyListObject *)a)->ob_item, ((PyListObject *)b)->ob_item, n, &level, rest);
    }
    return compare_parts(((PyTupleObject *)a)->ob_item, ((PyTupleObject *)b)->ob_item, n, &level, rest);
}

PyObject *
identity_alike(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t given[2];
    if (n != 4) {
        PyErr_SetString(PyExc_TypeError, "alike() takes two values, how many parts to compare, and how many levels");
        return NULL;
    }
    if (!identity_integers(args + 2, given, 2)) {
        return NULL;
    }
    Rest rest = {NULL, 0, 0, given[0], (int)Py_MIN(given[1], MOST_LEVELS)};
    Verdict found = compare(args[0], args[1], NULL, &rest);
    PyObject *pairs = NULL;
    if (found == ALIKE) {
        /* The list may make the collector run, and that finalizers, which may change what has been compared. */
        for (Py_ssize_t i = 0; i < rest.count; i++) {
            Py_INCREF(rest.items[i]);
        }
        pairs = PyList_New(rest.count);
        for (Py_ssize_t i = 0; i < rest.count; i++) {
            if (pairs != NULL) {
                PyList_SET_ITEM(pairs, i, rest.items[i]);
            }
            else {
                Py_DECREF(rest.items[i]);
            }
        }
    }
    PyMem_Free(rest.items);
    if (found == FAILED || (found == ALIKE && pairs == NULL)) {
        return NULL;
    }
    return Py_BuildValue("(Nn)", pairs != NULL ? pairs : Py_NewRef(Py_None), Py_MAX(rest.left, 0));
}
