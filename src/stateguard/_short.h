/* What the parts of the short way share: see _short.c. */

#ifndef STATEGUARD_SHORT_H
#define STATEGUARD_SHORT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <structmember.h>
#include <time.h>

#ifdef Py_GIL_DISABLED
#error "without the interpreter lock this is not sound: use what is written in Python"
#endif

#if defined(__GNUC__)
#define HOT __attribute__((hot)) /* beside each other: what every request runs is to fill few lines of the caches */
#define COLD __attribute__((cold, noinline))
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0) /* out of the way of what nearly every request runs */
#else
#define HOT
#define COLD
#define UNLIKELY(condition) (condition)
#endif

/* -- the fields of a scope -------------------------------------------------------------------------------- */

/* What is known of an ASGI request, in the order in which it is looked up; the last two only where somebody watches; and
 * when it began, if that is no number of seconds that `started` is. */
enum { TYPE, HEADERS, METHOD, PATH, QUERY, CLIENT, ASKED, STARTED = ASKED, KNOWN };

typedef struct {
    PyObject_HEAD
    PyObject *account;
    PyObject *carrier;
    PyObject *exchange;
    PyObject *factory;
    PyObject *origin;
    PyObject *owner;
    PyObject *parent;
    PyObject *previous;
    PyObject *request;
    PyObject *suspect;
    PyObject *values;
    PyObject *var_token;
    /* For no other eyes: what a Way has opened it with. Of these, what is asked for is made. */
    PyObject *way;
    PyObject *here;         /* the token of where it was entered, if that was once: an ASGI request */
    PyObject *known[KNOWN]; /* of an ASGI request */
    long long began;
    long long stepped;
    double started;
    char closed;
    char left;
} Fields;

#define FIRST_FIELD account
#define FIELDS ((offsetof(Fields, began) - offsetof(Fields, FIRST_FIELD)) / sizeof(PyObject *))

/* What others set, and each step asks for: numbers, kept as such. */
typedef struct {
    PyObject_HEAD
    long long number[2];
} Numbers;

/* The module's types, by which what is given is told. */
#define BODIES 4
typedef struct {
    PyObject *fields;
    PyObject *door;
    PyObject *drive;
    PyObject *way;
    PyObject *bodies[BODIES];
    PyObject *timer;
    PyObject *silent; /* a name: see _short_timers.c */
} State;

/* -- the way ----------------------------------------------------------------------------------------------- */

/* What a Way is given, by these names. What every request asks for comes first, beside each other. */
#define GIVEN(X) \
    X(current) X(engine) X(entered) X(guard) X(mode) X(scope) X(scopes) \
    X(awaited) X(by_thread) X(clock) X(clocks) X(ended) X(finder) X(identify) X(pace) X(passing) X(running) X(tally) \
    X(unseen)

/* Names that are asked for, likewise. */
#define NAMES(X) \
    X(http) X(mode) X(sparse) \
    X(abandon) X(active) X(armed) X(begin) X(client) X(close) X(contextvar) X(covered) X(end) X(enter) X(fileno) \
    X(forget) X(gait) X(give_back) X(go_on) X(gone) X(graph) X(headers) X(leave) X(locals) X(looks) X(method) \
    X(next_look) X(open) X(over) X(path) X(query_string) X(receive) X(requests) X(sample) X(send) X(session_factory) \
    X(since) X(started) X(time) X(type) X(used) X(watcher) X(websocket)

/* The same, where the name is none of C's. */
#define TEXTS(X) \
    X(request_id, "HTTP_X_REQUEST_ID") X(request_method, "REQUEST_METHOD") X(script_name, "SCRIPT_NAME") \
    X(path_info, "PATH_INFO") X(query, "QUERY_STRING") X(remote, "REMOTE_ADDR") X(input, "wsgi.input") \
    X(file_wrapper, "wsgi.file_wrapper") X(length, "__len__") X(asgi, "scope")

/* What each step asks for, and of whom: read in place. */
#define CELLS(X) X(finder, armed) X(pace, gait) X(passing, open) X(unseen, since) X(engine, started) X(engine, watcher)
#define NUMBERS(X) X(unseen, looks) X(unseen, covered) X(pace, next_look) X(tally, requests)

#define DECLARE(name) PyObject *name;
#define DECLARE_TEXT(name, text) PyObject *name;
#define DECLARE_CELL(holder, name) PyObject **name;
#define DECLARE_NUMBER(holder, name) long long *name;

typedef struct {
    PyObject_HEAD
    PyObject *drive_type;
    PyObject *spare;        /* the memory of one Drive */
    PyCFunction wall;       /* what gives the time, where nobody has replaced it */
    PyObject *known[ASKED]; /* under what names an ASGI scope has them; borrowed */
    struct {
        PyObject **mode; /* of `guard`: what it was at first is `mode` */
        PyObject **used; /* of `by_thread` */
        CELLS(DECLARE_CELL)
        NUMBERS(DECLARE_NUMBER)
    } cell; /* where in those objects, which live as long as the Way */
    long long busy; /* `running` */
    long long sampled;
    Py_ssize_t suspects;
    int usual_clock; /* whether `clock` is time.perf_counter_ns() */
    GIVEN(DECLARE)
    struct {
        NAMES(DECLARE)
        TEXTS(DECLARE_TEXT)
    } name;
    PyObject *nothing; /* an empty tuple */
    PyObject *body_types[BODIES];
} Way;

/* What a step asks for: borrowed, and NULL if somebody has deleted it. */
#define READ(way, field) (*(way)->cell.field)

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

/* Call a method of the guard's for its effect: 0, or -1 with an error set (a signal handler's). */
Py_LOCAL_SYMBOL int tell(PyObject *object, PyObject *name, PyObject *argument);

static inline int
is_none(PyObject *field)
{
    return field == NULL || field == Py_None;
}

/* What was raised, laid aside for something that has to be done whatever was raised; NULL if nothing was. It is taken up
 * again, or becomes the context of what has been raised meanwhile. */
Py_LOCAL_SYMBOL PyObject *save_error(void);
Py_LOCAL_SYMBOL void restore_error(PyObject *saved);

/* Raise what has been laid aside, or made, as it is. Its reference is taken over. */
Py_LOCAL_SYMBOL void raise_again(PyObject *error);

/* What both ways do for a request, in the order in which they do it. Those that return an int: 0, or -1 with an error
 * set. */
Py_LOCAL_SYMBOL PyObject *in_context(PyObject *variable);
Py_LOCAL_SYMBOL int may_open(Way *way);
Py_LOCAL_SYMBOL Fields *open_scope(Way *way);
Py_LOCAL_SYMBOL int note_time(Way *way, Fields *scope);
Py_LOCAL_SYMBOL PyObject *time_of(Fields *scope);
Py_LOCAL_SYMBOL int enlist(Way *way, Fields *scope);
Py_LOCAL_SYMBOL int may_pass(Way *way);
Py_LOCAL_SYMBOL int step_ended(Way *way, Fields *scope, int look);
Py_LOCAL_SYMBOL int retire(Way *way, Fields *scope, long long stepped);
Py_LOCAL_SYMBOL void leave_scope(Way *way, Fields *scope, PyObject *here);
Py_LOCAL_SYMBOL int close_scope(Way *way, Fields *scope);

/* The way of an ASGI request: _short_asgi.c. */
Py_LOCAL_SYMBOL int is_way(PyObject *object);
Py_LOCAL_SYMBOL PyObject *door_through(PyObject *module, PyObject *type);
Py_LOCAL_SYMBOL extern PyType_Spec door_spec;
Py_LOCAL_SYMBOL extern PyType_Spec drive_spec;

/* The way of a WSGI request: _short_wsgi.c. */
Py_LOCAL_SYMBOL PyObject *way_call(Way *self, PyObject *const *args, Py_ssize_t n);
Py_LOCAL_SYMBOL extern PyType_Spec body_specs[BODIES];

/* Timers of event loops: _short_timers.c. */
Py_LOCAL_SYMBOL extern PyType_Spec timer_spec;

#endif
