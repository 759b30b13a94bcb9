/* The same bytes for the same content, in every process, of values that take no application code to read.
 *
 * Of a change is told a hash of what was and of what is, while the request waits. Here lists, tuples, dictionaries whose
 * keys are strings or integers, and the values without parts in them are written down one after the other; a value with
 * anything else in it, or very much, is left to the caller. Nothing is allocated that the collector counts, no reference is given up:
 * no finalizer can run, and one call sees one instant. canonical.py says the same in Python.
 */

#include "_identity.h"

typedef struct Level {
    PyObject *container;
    const struct Level *above;
    int depth;
} Level;

typedef struct {
    char *data;
    Py_ssize_t size, room;
    Py_ssize_t left; /* values that may still be written */
    Py_ssize_t most; /* parts of one container; all, if 0 */
    Py_ssize_t text; /* characters or bytes of one value; all, if 0 */
    int deep;
} Writer;

#define LONGEST ((1 << 18) + 64) /* bytes; beyond, a value is for the caller, who hashes it part by part */
#define TEXT 256                 /* characters or bytes that count as one value more */

typedef enum { FAILED = -1, WRITTEN, NOT_PLAIN } Outcome;

/* Room for `n` more bytes; NULL with an error set. */
static char *
reserve(Writer *writer, Py_ssize_t n)
{
    if (n > writer->room - writer->size) {
        if (n > PY_SSIZE_T_MAX / 2 - writer->size) {
            PyErr_NoMemory();
            return NULL;
        }
        Py_ssize_t room = Py_MAX(2 * writer->room, writer->size + n);
        char *data = PyMem_Realloc(writer->data, (size_t)room);
        if (data == NULL) {
            PyErr_NoMemory();
            return NULL;
        }
        writer->data = data;
        writer->room = room;
    }
    return writer->data + writer->size;
}

static Outcome
put(Writer *writer, const char *bytes, Py_ssize_t n)
{
    char *to = reserve(writer, n);
    if (to == NULL) {
        return FAILED;
    }
    memcpy(to, bytes, (size_t)n);
    writer->size += n;
    return WRITTEN;
}

/* What kind of value, of how many parts. */
static Outcome
put_head(Writer *writer, char kind, Py_ssize_t n)
{
    char text[32];
    return put(writer, text, snprintf(text, sizeof(text), "%c%zd:", kind, n));
}

/* As UTF-8, surrogates like other characters. */
static Outcome
put_characters(Writer *writer, PyObject *text, Py_ssize_t start, Py_ssize_t stop)
{
    char *to = reserve(writer, 4 * (stop - start));
    if (to == NULL) {
        return FAILED;
    }
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    if (PyUnicode_IS_ASCII(text)) {
        memcpy(to, (const char *)data + start, (size_t)(stop - start));
        writer->size += stop - start;
        return WRITTEN;
    }
    for (Py_ssize_t i = start; i < stop; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        if (c < 0x80) {
            *to++ = (char)c;
            continue;
        }
        if (c < 0x800) {
            *to++ = (char)(0xC0 | c >> 6);
        }
        else if (c < 0x10000) {
            *to++ = (char)(0xE0 | c >> 12);
            *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        }
        else {
            *to++ = (char)(0xF0 | c >> 18);
            *to++ = (char)(0x80 | (c >> 12 & 0x3F));
            *to++ = (char)(0x80 | (c >> 6 & 0x3F));
        }
        *to++ = (char)(0x80 | (c & 0x3F));
    }
    writer->size = to - writer->data;
    return WRITTEN;
}

/* The beginning and the end of a long one. */
static Outcome
put_text(Writer *writer, PyObject *value, Py_ssize_t n)
{
    int is_text = PyUnicode_CheckExact(value);
    Py_ssize_t half = writer->text && n > writer->text ? writer->text / 2 : 0;
    Py_ssize_t parts[][2] = {{0, half ? half : n}, {half ? n - half : n, n}};
    if (put_head(writer, is_text ? 's' : 'b', n) < 0) {
        return FAILED;
    }
    writer->left -= (half ? 2 * half : n) / TEXT;
    if (!half && n > LONGEST) {
        return NOT_PLAIN;
    }
    for (int i = 0; i < 2; i++) {
        Py_ssize_t start = parts[i][0], stop = parts[i][1];
        if ((is_text ? put_characters(writer, value, start, stop)
                     : put(writer, PyBytes_AS_STRING(value) + start, stop - start)) < 0) {
            return FAILED;
        }
    }
    return WRITTEN;
}

static Outcome
put_number(Writer *writer, PyObject *value)
{
    int overflow;
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    if (!overflow) {
        char text[32];
        unsigned long long size = number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
        return put(writer, text, snprintf(text, sizeof(text), "i%s0x%llx:", number < 0 ? "-" : "", size));
    }
    PyObject *digits = PyNumber_ToBase(value, 16);
    if (digits == NULL) {
        return FAILED;
    }
    Outcome outcome = put(writer, "i", 1);
    if (outcome == WRITTEN) {
        outcome = put(writer, (const char *)PyUnicode_DATA(digits), PyUnicode_GET_LENGTH(digits));
    }
    Py_DECREF(digits);
    return outcome == WRITTEN ? put(writer, ":", 1) : FAILED;
}

static Outcome
put_float(Writer *writer, double value)
{
    char *digits = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (digits == NULL) {
        return FAILED;
    }
    Outcome outcome = put(writer, "f", 1);
    if (outcome == WRITTEN) {
        outcome = put(writer, digits, (Py_ssize_t)strlen(digits));
    }
    PyMem_Free(digits);
    return outcome == WRITTEN ? put(writer, ":", 1) : FAILED;
}

static Outcome write_value(Writer *writer, PyObject *value, const Level *above);

/* Whether the part at `i` of `n` is to be written, where not all are. */
static int
is_picked(const Writer *writer, Py_ssize_t i, Py_ssize_t n)
{
    return !writer->most || n <= writer->most || i < writer->most / 2 || i >= n - writer->most / 2;
}

static Outcome
write_items(Writer *writer, PyObject *const *items, Py_ssize_t n, const Level *level)
{
    for (Py_ssize_t i = 0; i < n; i++) {
        if (!is_picked(writer, i, n)) {
            i = n - writer->most / 2 - 1;
            continue;
        }
        Outcome outcome = write_value(writer, items[i], level);
        if (outcome != WRITTEN) {
            return outcome;
        }
    }
    return WRITTEN;
}

typedef struct {
    const char *data;
    Py_ssize_t size;
} Entry;

static int
by_bytes(const void *one, const void *other)
{
    const Entry *a = one, *b = other;
    int order = memcmp(a->data, b->data, (size_t)Py_MIN(a->size, b->size));
    return order ? order : (a->size > b->size) - (a->size < b->size);
}

/* Bring the entries that begin at these places of what has been written, and end where the next one does, in order. */
static Outcome
sort_entries(Writer *writer, const Py_ssize_t *places, Py_ssize_t n)
{
    if (n < 2) {
        return WRITTEN;
    }
    Py_ssize_t start = places[0], size = writer->size - start;
    Entry *entries = PyMem_New(Entry, n);
    char *copy = PyMem_Malloc((size_t)size);
    if (entries == NULL || copy == NULL) {
        PyMem_Free(entries);
        PyMem_Free(copy);
        PyErr_NoMemory();
        return FAILED;
    }
    memcpy(copy, writer->data + start, (size_t)size);
    for (Py_ssize_t i = 0; i < n; i++) {
        entries[i].data = copy + (places[i] - start);
        entries[i].size = (i + 1 < n ? places[i + 1] : writer->size) - places[i];
    }
    qsort(entries, (size_t)n, sizeof(Entry), by_bytes);
    char *to = writer->data + start;
    for (Py_ssize_t i = 0; i < n; i++) {
        memcpy(to, entries[i].data, (size_t)entries[i].size);
        to += entries[i].size;
    }
    PyMem_Free(entries);
    PyMem_Free(copy);
    return WRITTEN;
}

static Outcome
write_entries(Writer *writer, PyObject *dict, Py_ssize_t n, const Level *level)
{
    Py_ssize_t *places = PyMem_New(Py_ssize_t, n ? n : 1);
    if (places == NULL) {
        PyErr_NoMemory();
        return FAILED;
    }
    PyObject *key, *value;
    Py_ssize_t at = 0, i = 0, written = 0;
    Outcome outcome = WRITTEN;
    while (outcome == WRITTEN && PyDict_Next(dict, &at, &key, &value)) {
        if (!PyUnicode_CheckExact(key) && !PyLong_CheckExact(key)) {
            outcome = NOT_PLAIN;
        }
        else if (is_picked(writer, i++, n)) {
            places[written++] = writer->size;
            outcome = write_value(writer, key, level);
            if (outcome == WRITTEN) {
                outcome = write_value(writer, value, level);
            }
        }
    }
    if (outcome == WRITTEN) {
        outcome = sort_entries(writer, places, written);
    }
    PyMem_Free(places);
    return outcome;
}

static Outcome
write_container(Writer *writer, PyObject *value, char kind, Py_ssize_t n, const Level *above)
{
    if (put_head(writer, kind, n) < 0) {
        return FAILED;
    }
    if (!writer->most && n > writer->left) { /* all or nothing */
        writer->left = 0;
        return WRITTEN;
    }
    if (writer->left <= 0) {
        return WRITTEN;
    }
    const Level level = {value, above, above == NULL ? 1 : above->depth + 1};
    int again = level.depth > writer->deep;
    for (const Level *one = above; one != NULL && !again; one = one->above) {
        again = one->container == value;
    }
    if (again) {
        return put(writer, "...", 3);
    }
    switch (kind) {
    case 'd':
        return write_entries(writer, value, n, &level);
    case 'l':
        return write_items(writer, ((PyListObject *)value)->ob_item, n, &level);
    default:
        return write_items(writer, ((PyTupleObject *)value)->ob_item, n, &level);
    }
}

static Outcome
write_value(Writer *writer, PyObject *value, const Level *above)
{
    writer->left--;
    if (writer->size > LONGEST) {
        return NOT_PLAIN;
    }
    PyTypeObject *type = Py_TYPE(value);
    if (type == &PyUnicode_Type) {
        return put_text(writer, value, PyUnicode_GET_LENGTH(value));
    }
    if (type == &PyLong_Type) {
        return put_number(writer, value);
    }
    if (value == Py_None) {
        return put(writer, "N", 1);
    }
    if (type == &PyBool_Type) {
        return put(writer, value == Py_True ? "T" : "F", 1);
    }
    if (type == &PyDict_Type) {
        return write_container(writer, value, 'd', PyDict_GET_SIZE(value), above);
    }
    if (type == &PyList_Type) {
        return write_container(writer, value, 'l', PyList_GET_SIZE(value), above);
    }
    if (type == &PyTuple_Type) {
        return write_container(writer, value, 't', PyTuple_GET_SIZE(value), above);
    }
    if (type == &PyFloat_Type) {
        return put_float(writer, PyFloat_AS_DOUBLE(value));
    }
    if (type == &PyBytes_Type) {
        return put_text(writer, value, PyBytes_GET_SIZE(value));
    }
    return NOT_PLAIN;
}

PyObject *
identity_canonical(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t n)
{
    Py_ssize_t given[4];
    if (n != 5) {
        PyErr_SetString(PyExc_TypeError, "canonical() takes a value and four numbers");
        return NULL;
    }
    if (!identity_integers(args + 1, given, 4)) {
        return NULL;
    }
    Writer writer = {NULL, 0, 0, given[0], given[2], given[3], (int)Py_MIN(given[1], MOST_LEVELS)};
    Outcome outcome = reserve(&writer, 256) == NULL ? FAILED : write_value(&writer, args[0], NULL);
    PyObject *bytes = NULL;
    if (outcome == WRITTEN && writer.size > LONGEST) {
        outcome = NOT_PLAIN;
    }
    if (outcome == WRITTEN) {
        bytes = PyBytes_FromStringAndSize(writer.data, writer.size);
    }
    else if (outcome == NOT_PLAIN) {
        bytes = Py_NewRef(Py_None);
        writer.left = given[0];
    }
    PyMem_Free(writer.data);
    return bytes == NULL ? NULL : Py_BuildValue("(Nn)", bytes, writer.left);
}
