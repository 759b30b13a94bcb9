/* What the parts of the short way share: see _short.c. */

#ifndef STATEGUARD_SHORT_H
#define STATEGUARD_SHORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <limits.h>
#include <stddef.h>
#include <structmember.h>

#ifdef Py_GIL_DISABLED
#error "without the interpreter lock this is not sound: use what is written in Python"
#endif

/* -- the fields of a scope -------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *account;
    PyObject *began;
    PyObject *carrier;
    PyObject *closed;
    PyObject *exchange;
    PyObject *factory;
    PyObject *left;
    PyObject *origin;
    PyObject *owner;
    PyObject *parent;
    PyObject *previous;
    PyObject *request;
    PyObject *stepped;
    PyObject *suspect;
    PyObject *values;
    PyObject *var_token;
    PyObject *here; /* the token of where a Way has entered it; for no other eyes */
} Fields;

#define FIRST_FIELD account
#define FIELDS ((sizeof(Fields) - offsetof(Fields, FIRST_FIELD)) / sizeof(PyObject *))

/* The module's types, by which what is given is told. */
#define BODIES 4
typedef struct {
    PyObject *fields;
    PyObject *drive;
    PyObject *way;
    PyObject *bodies[BODIES];
    PyObject *timer;
    PyObject *silent; /* a name: see _short_timers.c */
} State;

/* -- the way ----------------------------------------------------------------------------------------------- */

/* What a Way is given, by these names. */
#define GIVEN(X) \
    X(awaited) X(by_thread) X(clock) X(clocks) X(current) X(ended) X(entered) X(finder) X(guard) X(identify) X(pace) \
    X(passing) X(running) X(scope) X(scopes) X(engine) X(tally) X(unseen)

/* Names that are asked for. */
#define NAMES(X) \
    X(abandon) X(active) X(armed) X(begin) X(client) X(close) X(covered) X(end) X(enter) X(fileno) X(forget) \
    X(gait) X(give_back) X(go_on) X(gone) X(graph) X(headers) X(http) X(leave) X(locals) X(looks) X(method) X(mode) \
    X(next_look) X(off) X(open) X(over) X(path) X(query_string) X(requests) X(sample) X(session_factory) \
    X(since) X(sparse) X(started) X(time) X(type) X(used) X(watcher) X(websocket) X(contextvar)

/* The same, where the name is none of C's. */
#define TEXTS(X) \
    X(request_id, "HTTP_X_REQUEST_ID") X(request_method, "REQUEST_METHOD") X(script_name, "SCRIPT_NAME") \
    X(path_info, "PATH_INFO") X(query, "QUERY_STRING") X(remote, "REMOTE_ADDR") X(input, "wsgi.input") \
    X(file_wrapper, "wsgi.file_wrapper") X(length, "__len__")

/* What each step asks for, and of whom: read in place where it is a slot. */
#define CELLS(X) \
    X(finder, armed) X(unseen, covered) X(pace, gait) X(unseen, looks) X(pace, next_look) X(passing, open) \
    X(tally, requests) X(unseen, since) X(engine, started) X(by_thread, used) X(engine, watcher)

#define DECLARE(name) PyObject *name;
#define DECLARE_TEXT(name, text) PyObject *name;
#define DECLARE_CELL(holder, name) PyObject **name;

typedef struct {
    PyObject_HEAD
    PyObject *drive_type;
    PyObject *body_types[BODIES];
    GIVEN(DECLARE)
    struct {
        NAMES(DECLARE)
        TEXTS(DECLARE_TEXT)
    } name;
    struct {
        CELLS(DECLARE_CELL)
    } cell; /* where in those objects, which live as long as the Way; NULL: it has to be asked for by its name */
    int usual_clock;        /* whether `clock` is time.perf_counter_ns() */
    PyObject *none_stepped; /* -1: no step yet */
    PyObject *zero;
    PyObject *nothing; /* an empty tuple */
    long long sampled;
    Py_ssize_t suspects;
} Way;

/* What a step asks for: a reference, or NULL with an error set. */
#define READ(way, holder, field) \
    ((way)->cell.field != NULL && *(way)->cell.field != NULL ? Py_NewRef(*(way)->cell.field) \
                                                             : PyObject_GetAttr((way)->holder, (way)->name.field))

/* Put a value there: 0, or -1 with an error set. Its reference is taken over. */
#define WRITE(way, holder, field, value) \
    write_to((way)->cell.field, (way)->holder, (way)->name.field, (value))

/* Whether it is `expected`. */
#define READS(way, holder, field, expected) \
    ((way)->cell.field != NULL && *(way)->cell.field != NULL \
         ? *(way)->cell.field == (expected) \
         : attribute_is((way)->holder, (way)->name.field, (expected)))

/* Whether an attribute of one of the guard's objects is `expected`, by identity. No error: then it is not. */
static inline int
attribute_is(PyObject *object, PyObject *name, PyObject *expected)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(value); /* its holder keeps it */
    return value == expected;
}

/* What a context variable holds; NULL, and no error, if that is None. Borrowed: the context keeps it. */
static inline PyObject *
in_context(PyObject *variable)
{
    PyObject *value;
    if (PyContextVar_Get(variable, NULL, &value) < 0) {
        PyErr_Clear();
        return NULL;
    }
    Py_XDECREF(value);
    return value == Py_None ? NULL : value;
}

/* A value in an ASGI scope or a WSGI environ, None if it lacks one. A reference of our own: a key may be of a class that
 * compares in Python, an allocation may start the collector, and either may change the dictionary. */
static inline PyObject *
entry(PyObject *dict, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(dict, name);
    return value == NULL && PyErr_Occurred() ? NULL : Py_NewRef(value == NULL ? Py_None : value);
}

static inline void
put(PyObject **field, PyObject *value)
{
    PyObject *before = *field;
    *field = Py_XNewRef(value);
    Py_XDECREF(before); /* last: it may run anything */
}

static inline int
write_to(PyObject **cell, PyObject *holder, PyObject *name, PyObject *value)
{
    int result = 0;
    if (cell != NULL) {
        put(cell, value);
    }
    else {
        result = PyObject_SetAttr(holder, name, value);
    }
    Py_DECREF(value);
    return result;
}

/* Call a method of the guard's for its effect: 0, or -1 with an error set (a signal handler's). */
static inline int
tell(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *answer = PyObject_CallMethodOneArg(object, name, argument);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* What was raised, laid aside. */
typedef struct {
    PyObject *type, *value, *traceback, *handled;
} Saved;

#define NO_ERROR ((Saved){NULL, NULL, NULL, NULL})

Py_LOCAL_SYMBOL Saved save_error(void);
Py_LOCAL_SYMBOL void restore_error(Saved saved);

/* What both ways do for a request, in the order in which they do it. Those that return an int: 0, or -1 with an error
 * set. */
Py_LOCAL_SYMBOL int may_open(Way *way);
Py_LOCAL_SYMBOL PyObject *time_of(Way *way);
Py_LOCAL_SYMBOL Fields *open_scope(Way *way, PyObject *request, PyObject *exchange, PyObject *origin);
Py_LOCAL_SYMBOL int enlist(Way *way, Fields *scope);
Py_LOCAL_SYMBOL int may_pass(Way *way);
Py_LOCAL_SYMBOL int step_ended(Way *way, Fields *scope, PyObject **copy, int look);
Py_LOCAL_SYMBOL int retire(Way *way, Fields *scope, PyObject *stepped);
Py_LOCAL_SYMBOL void leave_scope(Way *way, Fields *scope, PyObject *here);
Py_LOCAL_SYMBOL int close_scope(Way *way, Fields *scope);

/* The way of an ASGI request: _short_asgi.c. */
Py_LOCAL_SYMBOL PyObject *way_open(Way *self, PyObject *asgi);
Py_LOCAL_SYMBOL PyObject *way_close(Way *self, PyObject *object);
Py_LOCAL_SYMBOL PyObject *way_serve(Way *self, PyObject *const *args, Py_ssize_t n);
Py_LOCAL_SYMBOL extern PyType_Spec drive_spec;

/* The way of a WSGI request: _short_wsgi.c. */
Py_LOCAL_SYMBOL PyObject *way_call(Way *self, PyObject *const *args, Py_ssize_t n);
Py_LOCAL_SYMBOL extern PyType_Spec body_specs[BODIES];

/* Timers of event loops: _short_timers.c. */
Py_LOCAL_SYMBOL extern PyType_Spec timer_spec;

#endif
