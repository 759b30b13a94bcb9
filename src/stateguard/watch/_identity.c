/* Whether watched objects still refer to what they referred to: the innermost loop of every check.
 *
 * gc.get_referents() lists what objects refer to, so that Python can compare that list with an earlier one; the
 * list takes a reference to each of them, which writes to as many places in memory, and is thrown away. Here each
 * is compared where it is met. No application code runs, nothing is allocated, no reference is taken: under the
 * interpreter lock, one call sees one instant. compare.py says the same in Python, for installations without a
 * compiled part and for interpreters without that lock.
 */

#include "_identity.h"

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

/* Whether a tuple and a list are given; then `place` is where the list begins. */
static int
begins(const char *name, PyObject *const *args, Py_ssize_t n, Place *place)
{
    if (n != 2 || !PyTuple_Check(args[0]) || !PyList_Check(args[1])) {
        PyErr_Format(PyExc_TypeError, "%s() takes a tuple and a list", name);
        return 0;
    }
    place->next = ((PyListObject *)args[1])->ob_item;
    place->end = place->next + PyList_GET_SIZE(args[1]);
    place->differs = 0;
    return 1;
}

PyDoc_STRVAR(same_referents_doc,
"same_referents(nodes, before, /)\n--\n\n"
"Whether gc.get_referents(*nodes) would give the very objects in the list `before`.");

static PyObject *
same_referents(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Place place;
    if (!begins("same_referents", args, n, &place)) {
        return NULL;
    }
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
    Place place;
    if (!begins("same_keys", args, n, &place)) {
        return NULL;
    }
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

/* Whether `count` items of the one list from `i` on are those of the other from `j` on. */
static PyObject *
compare_runs(PyObject *a, Py_ssize_t i, PyObject *b, Py_ssize_t j, Py_ssize_t count)
{
    if (i < 0 || j < 0 || count < 0) {
        PyErr_SetString(PyExc_ValueError, "places and counts must not be negative");
        return NULL;
    }
    if (count == 0) {
        Py_RETURN_TRUE;
    }
    /* No sum that could overflow. */
    Py_ssize_t left = PyList_GET_SIZE(a), right = PyList_GET_SIZE(b);
    if (i > left || count > left - i || j > right || count > right - j) {
        Py_RETURN_FALSE;
    }
    PyObject *const *these = ((PyListObject *)a)->ob_item + i;
    PyObject *const *those = ((PyListObject *)b)->ob_item + j;
    return PyBool_FromLong(memcmp(these, those, (size_t)count * sizeof(PyObject *)) == 0);
}

int
identity_integers(PyObject *const *args, Py_ssize_t *into, int n)
{
    for (int i = 0; i < n; i++) {
        into[i] = PyLong_AsSsize_t(args[i]);
        if (into[i] == -1 && PyErr_Occurred()) {
            return 0;
        }
    }
    return 1;
}

PyDoc_STRVAR(same_items_doc,
"same_items(node, before, start, count, /)\n--\n\n"
"Whether `count` items of the list `node`, from `start` on, are the very objects in the list `before` there.");

static PyObject *
same_items(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t given[2];
    if (n != 4 || !PyList_Check(args[0]) || !PyList_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "same_items() takes two lists, a start and a count");
        return NULL;
    }
    return identity_integers(args + 2, given, 2) ? compare_runs(args[0], given[0], args[1], given[0], given[1]) : NULL;
}

PyDoc_STRVAR(same_run_doc,
"same_run(a, i, b, j, count, /)\n--\n\n"
"Whether `a[i:i+count]` and `b[j:j+count]` are the very same objects. False if one of them is shorter.");

static PyObject *
same_run(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t i, j, count;
    if (n != 5 || !PyList_Check(args[0]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "same_run() takes two lists, each with a place, and a count");
        return NULL;
    }
    if (!identity_integers(args + 1, &i, 1) || !identity_integers(args + 3, &j, 1) || !identity_integers(args + 4, &count, 1)) {
        return NULL;
    }
    return compare_runs(args[0], i, args[2], j, count);
}

PyDoc_STRVAR(find_doc,
"find(items, obj, start, stop, /)\n--\n\n"
"Where the very object `obj` lies in the list `items` from `start` on and before `stop`; -1 if it does not.");

static PyObject *
find(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t range[2];
    if (n != 4 || !PyList_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "find() takes a list, an object, a start and a stop");
        return NULL;
    }
    if (!identity_integers(args + 2, range, 2)) {
        return NULL;
    }
    if (range[0] < 0) {
        PyErr_SetString(PyExc_ValueError, "places must not be negative");
        return NULL;
    }
    Py_ssize_t stop = Py_MIN(range[1], PyList_GET_SIZE(args[0]));
    PyObject *const *items = ((PyListObject *)args[0])->ob_item;
    for (Py_ssize_t i = range[0]; i < stop; i++) {
        if (items[i] == args[1]) {
            return PyLong_FromSsize_t(i);
        }
    }
    return PyLong_FromLong(-1);
}

PyDoc_STRVAR(shift_doc,
"shift(places, start, by, /)\n--\n\n"
"Add `by` to all of the array of unsigned integers `places` from `start` on.");

static PyObject *
shift(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t given[2];
    Py_buffer places;
    if (n != 3) {
        PyErr_SetString(PyExc_TypeError, "shift() takes an array, a start and a number");
        return NULL;
    }
    if (!identity_integers(args + 1, given, 2) ||
        PyObject_GetBuffer(args[0], &places, PyBUF_WRITABLE | PyBUF_FORMAT) < 0) {
        return NULL;
    }
    int fits = given[0] >= 0 && places.format != NULL && strcmp(places.format, "I") == 0;
    unsigned int *items = places.buf;
    Py_ssize_t stop = places.len / (Py_ssize_t)sizeof(unsigned int);
    for (Py_ssize_t i = given[0]; fits && i < stop; i++) {
        items[i] += (unsigned int)given[1];
    }
    PyBuffer_Release(&places);
    if (!fits) {
        PyErr_SetString(PyExc_ValueError, "shift() takes an array of unsigned integers, and places from 0 on");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(types_of_doc,
"types_of(items, /)\n--\n\n"
"The types of the objects in a list, each once as long as they are few.");

#define KNOWN 64 /* types that are told apart quickly */

static PyObject *
types_of(PyObject *Py_UNUSED(module), PyObject *items)
{
    if (!PyList_Check(items)) {
        PyErr_SetString(PyExc_TypeError, "types_of() takes a list");
        return NULL;
    }
    PyObject *known[KNOWN], *last = NULL, *found = PyList_New(0);
    Py_ssize_t count = 0;
    for (Py_ssize_t i = 0; found != NULL && i < PyList_GET_SIZE(items); i++) {
        PyObject *type = (PyObject *)Py_TYPE(PyList_GET_ITEM(items, i));
        Py_ssize_t at = 0;
        if (type == last) {
            continue;
        }
        last = type;
        while (at < count && known[at] != type) {
            at++;
        }
        if (at == count) { /* where there are more, some are named again */
            if (count < KNOWN) {
                known[count++] = type;
            }
            if (PyList_Append(found, type) < 0) {
                Py_CLEAR(found);
            }
        }
    }
    return found;
}

PyDoc_STRVAR(alike_doc,
"alike(a, b, left, levels, /)\n--\n\n"
"The pairs of objects, one after the other in a list, on which it depends whether two values say the same; None if they\n"
"do not, or have more than `left` parts. And how many parts are left. `levels` is how deep it looks.");

PyDoc_STRVAR(canonical_doc,
"canonical(value, left, levels, most, text, /)\n--\n\n"
"The bytes of a value, the same for the same content, None if there are other objects in it; and how many values are\n"
"left of the `left` that may be written. `most` parts of a container are, `text` characters of a string, 0 for all.");

PyDoc_STRVAR(same_entries_doc,
"same_entries(node, keys, values, start, at, count, /)\n--\n\n"
"Whether `count` entries of a dictionary, from `start` on, are those in the two lists: if so, where to go on `at`, which\n"
"is 0 at the beginning; else -1.");

static PyObject *
same_entries(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t given[3];
    if (n != 6 || !PyDict_Check(args[0]) || !PyList_Check(args[1]) || !PyList_Check(args[2])) {
        PyErr_SetString(PyExc_TypeError, "same_entries() takes a dictionary, two lists, two places and a count");
        return NULL;
    }
    if (!identity_integers(args + 3, given, 3)) {
        return NULL;
    }
    Py_ssize_t start = given[0], at = given[1], count = given[2];
    if (start < 0 || at < 0 || count < 0) {
        PyErr_SetString(PyExc_ValueError, "places and counts must not be negative");
        return NULL;
    }
    Py_ssize_t left = PyList_GET_SIZE(args[1]), right = PyList_GET_SIZE(args[2]);
    if (start > left || count > left - start || start > right || count > right - start) {
        return PyLong_FromLong(-1);
    }
    PyObject *const *keys = ((PyListObject *)args[1])->ob_item + start;
    PyObject *const *values = ((PyListObject *)args[2])->ob_item + start;
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *key, *value;
        /* If the table has been made anew since, the place may lead anywhere, but not out of it. */
        if (!PyDict_Next(args[0], &at, &key, &value) || key != keys[i] || value != values[i]) {
            return PyLong_FromLong(-1);
        }
    }
    return PyLong_FromSsize_t(at);
}

PyDoc_STRVAR(track_doc,
"track(items, whether, /)\n--\n\n"
"Have a list visited by the garbage collector, or not: one of objects which that does not visit either needs no visits.");

static PyObject *
track(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    if (n != 2 || !PyList_CheckExact(args[0]) || !PyBool_Check(args[1])) {
        PyErr_SetString(PyExc_TypeError, "track() takes a list and a truth value");
        return NULL;
    }
    if (args[1] == Py_False) {
        PyObject_GC_UnTrack(args[0]);
    }
    else if (!PyObject_GC_IsTracked(args[0])) {
        PyObject_GC_Track(args[0]);
    }
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"same_referents", (PyCFunction)(void (*)(void))same_referents, METH_FASTCALL, same_referents_doc},
    {"same_keys", (PyCFunction)(void (*)(void))same_keys, METH_FASTCALL, same_keys_doc},
    {"same_items", (PyCFunction)(void (*)(void))same_items, METH_FASTCALL, same_items_doc},
    {"same_entries", (PyCFunction)(void (*)(void))same_entries, METH_FASTCALL, same_entries_doc},
    {"same_run", (PyCFunction)(void (*)(void))same_run, METH_FASTCALL, same_run_doc},
    {"alike", (PyCFunction)(void (*)(void))identity_alike, METH_FASTCALL, alike_doc},
    {"canonical", (PyCFunction)(void (*)(void))identity_canonical, METH_FASTCALL, canonical_doc},
    {"shift", (PyCFunction)(void (*)(void))shift, METH_FASTCALL, shift_doc},
    {"track", (PyCFunction)(void (*)(void))track, METH_FASTCALL, track_doc},
    {"types_of", types_of, METH_O, types_of_doc},
    {"find", (PyCFunction)(void (*)(void))find, METH_FASTCALL, find_doc},
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
