/* The short way of a WSGI request: StateGuardMiddleware.__call__ of wsgi.py, PassingStretch and ScopeStretch of
 * wsgi_stretches.py and the bodies of wsgi_bodies.py, see there and _short.c. */

#include "_short.h"

#ifdef MS_WINDOWS
#include <process.h>
#define getpid _getpid
#else
#include <unistd.h>
#endif

/* -- stretches: the entries of a request into the application ------------------------------------------------- */

/* What one entry has to undo is its own: a piece may ask for another piece, and threads for one each. */
typedef struct {
    PyObject *here;  /* the token of the context variable, where nothing was entered before */
    PyObject *token; /* what the scope has returned, where something was */
    PyObject *mark;  /* the token of who works here, where a guarded request has been made of this one before */
    int unseen;      /* whether nobody was told of its beginning */
} Entry;

/* `failed`: an error is set, and is kept. -1 with an error set if there was one, or is now. */
static int
undo(Way *way, Fields *scope, Entry *entry, int failed)
{
    PyObject *saved = failed ? save_error() : NULL;
    PyObject *raised = NULL; /* by a signal handler */
    int called = failed;
    if (way->engine != Py_None && !is_none(scope->suspect)) {
        /* Also if another thread has ended it meanwhile. */
        PyObject *arguments[] = {way->passing, scope->suspect, entry->mark == NULL ? Py_None : entry->mark};
        Py_INCREF(arguments[1]);
        PyObject *answer = PyObject_VectorcallMethod(way->name.give_back, arguments, 3, NULL);
        Py_DECREF(arguments[1]);
        Py_XDECREF(answer);
        raised = save_error();
        called = 1;
    }
    if (entry->token != NULL) {
        PyObject *arguments[] = {(PyObject *)scope, entry->token};
        PyObject *answer = PyObject_VectorcallMethod(way->name.leave, arguments, 2, NULL);
        Py_XDECREF(answer);
        called = 1;
    }
    else if (entry->here != NULL) {
        leave_scope(way, scope, entry->here); /* which takes the token over */
    }
    Py_CLEAR(entry->token);
    Py_CLEAR(entry->mark);
    restore_error(raised);
    restore_error(saved);
    return called && PyErr_Occurred() ? -1 : 0;
}

/* Code of the application is about to run: 0, or -1 with an error set; then nothing is left to undo. */
static int
enter(Way *way, Fields *scope, Entry *entry)
{
    *entry = (Entry){NULL, NULL, NULL, 0};
    if (in_context(way->entered) == NULL) {
        entry->here = PyContextVar_Set(way->entered, (PyObject *)scope);
    }
    else {
        entry->token = PyObject_CallMethodNoArgs((PyObject *)scope, way->name.enter);
    }
    int result = entry->here == NULL && entry->token == NULL ? -1 : 0;
    if (result < 0 || way->engine == Py_None) {
        return result;
    }
    if (!is_none(scope->account)) {
        entry->mark = PyContextVar_Set(way->current, scope->account);
        result = entry->mark == NULL ? -1 : 0;
    }
    else if (scope->stepped != way->busy && PyDict_Contains(way->scopes, (PyObject *)scope) == 1) {
        /* Else another entry is under way, or the request is over: then it is noted each time. */
        long long before = scope->stepped;
        scope->stepped = way->busy; /* first, and then the gait is asked for */
        entry->unseen = may_pass(way);
        if (!entry->unseen) {
            scope->stepped = before;
        }
    }
    if (result == 0 && !entry->unseen) {
        result = tell(way->passing, way->name.begin, (PyObject *)scope);
    }
    if (result < 0) {
        undo(way, scope, entry, 1);
    }
    return result;
}

/* It has run, and what it has raised is kept: 0, or -1 with an error set in its place. */
static int
leave(Way *way, Fields *scope, Entry *entry)
{
    PyObject *saved = save_error();
    int result = 0;
    if (entry->unseen) {
        result = step_ended(way, scope, scope->closed);
    }
    else if (way->engine != Py_None) {
        result = tell(way->passing, way->name.end, (PyObject *)scope);
    }
    result = undo(way, scope, entry, result < 0);
    restore_error(saved);
    return result;
}

/* Whoever is suspected of it, now or later, must not keep the environ. */
static int
forget(Way *way, Fields *scope)
{
    PyObject *whole = scope->origin;
    if (whole != NULL && PyTuple_CheckExact(whole)) {
        Py_INCREF(whole);
        PyObject *origin = PyTuple_GetSlice(whole, 0, 4);
        Py_DECREF(whole);
        if (origin == NULL) {
            return -1;
        }
        put(&scope->origin, origin);
        Py_DECREF(origin);
    }
    return is_none(scope->suspect) ? 0 : tell(way->passing, way->name.forget, (PyObject *)scope);
}

/* Something else has to be done, whatever was raised, if anything was: 0, or -1 with an error set. */
static int
also(int (*work)(Way *, Fields *), Way *way, Fields *scope, int failed)
{
    if (!failed) {
        return work(way, scope);
    }
    PyObject *saved = save_error();
    work(way, scope);
    restore_error(saved);
    return -1;
}

static int
retire_as_stepped(Way *way, Fields *scope)
{
    return retire(way, scope, scope->stepped);
}

static int
is_gone(Way *way, Fields *scope)
{
    return is_none(scope->suspect) ? 0 : tell(way->passing, way->name.gone, (PyObject *)scope);
}

/* The request has ended, and what was raised is kept: 0, or -1 with an error set. */
static int
finish(Way *way, Fields *scope)
{
    int watched = way->engine != Py_None;
    int failed = PyErr_Occurred() != NULL;
    if (watched) {
        failed = also(retire_as_stepped, way, scope, failed);
        failed = also(forget, way, scope, failed);
    }
    failed = also(close_scope, way, scope, failed);
    return watched ? also(is_gone, way, scope, failed) : failed;
}

/* -- bodies that are produced piece by piece ------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    Way *way;
    Fields *scope;
    PyObject *body;
    PyObject *iterator;
    PyObject *weak;
    long process;
    char open; /* until the request has ended: of several threads that end it, one does */
} Body;

/* By whether the application's body has a length, and a close(): servers ask ours whether it has. */
enum { PLAIN, CLOSES, SIZED, SIZED_CLOSES };

static int
closes(Body *self)
{
    PyTypeObject **types = (PyTypeObject **)self->way->body_types;
    return Py_TYPE(self) == types[CLOSES] || Py_TYPE(self) == types[SIZED_CLOSES];
}

static int
end(Body *self)
{
    if (!self->open) {
        return 0;
    }
    self->open = 0;
    return finish(self->way, self->scope);
}

/* The application's body, for something that it is asked for: a reference, or NULL with an error set. A body may ask
 * for ours, and so on. */
static PyObject *
ask(Body *self)
{
    if (self->body == NULL) { /* its cycle is being taken apart */
        PyErr_SetString(PyExc_RuntimeError, "this body has gone");
        return NULL;
    }
    return Py_EnterRecursiveCall(" while asking for a body") ? NULL : Py_NewRef(self->body);
}

static void
asked(PyObject *body)
{
    Py_LeaveRecursiveCall();
    Py_DECREF(body);
}

static PyObject *
piece_of(Body *self, PyObject *body)
{
    PyObject *iterator = Py_XNewRef(self->iterator);
    if (iterator == NULL) {
        iterator = PyObject_GetIter(body);
        if (iterator == NULL) {
            return NULL;
        }
        Py_XSETREF(self->iterator, Py_NewRef(iterator)); /* another thread, or itself, may have made one meanwhile */
    }
    PyObject *piece = Py_TYPE(iterator)->tp_iternext(iterator);
    Py_DECREF(iterator);
    return piece;
}

static PyObject *
body_next(Body *self)
{
    PyObject *body = ask(self);
    if (body == NULL) {
        return NULL;
    }
    Py_INCREF(self);
    PyObject *piece = NULL;
    Entry entry;
    if (enter(self->way, self->scope, &entry) == 0) {
        piece = piece_of(self, body);
        int done = piece == NULL;
        if (leave(self->way, self->scope, &entry) < 0) {
            Py_CLEAR(piece);
        }
        if (done && !closes(self)) {
            end(self);
        }
    }
    asked(body);
    Py_DECREF(self);
    return piece; /* none, and no error: it is exhausted */
}

static PyObject *
body_close(Body *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *body = ask(self);
    if (body == NULL) {
        return NULL;
    }
    Py_INCREF(self);
    int failed = 1;
    Entry entry;
    if (enter(self->way, self->scope, &entry) == 0) {
        PyObject *answer = PyObject_CallMethodNoArgs(body, self->way->name.close);
        failed = leave(self->way, self->scope, &entry) < 0 || answer == NULL;
        Py_XDECREF(answer);
    }
    failed |= end(self) < 0;
    asked(body);
    Py_DECREF(self);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
body_bytes(Body *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *body = ask(self);
    if (body == NULL) {
        return NULL;
    }
    PyObject *text = PyObject_CallOneArg((PyObject *)&PyBytes_Type, body);
    asked(body);
    return text;
}

static Py_ssize_t
body_length(Body *self)
{
    PyObject *body = ask(self);
    if (body == NULL) {
        return -1;
    }
    Py_ssize_t length = PyObject_Size(body);
    asked(body);
    return length;
}

/* Some applications return their response itself, and those who call them know it as that (Django). */
static PyObject *
body_attribute(Body *self, PyObject *name)
{
    PyObject *value = PyObject_GenericGetAttr((PyObject *)self, name);
    if (value != NULL || self->body == NULL || !PyErr_ExceptionMatches(PyExc_AttributeError)) {
        return value;
    }
    PyErr_Clear();
    PyObject *body = ask(self);
    if (body == NULL) {
        return NULL;
    }
    value = PyObject_GetAttr(body, name);
    asked(body);
    return value;
}

static int
body_traverse(Body *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->way);
    Py_VISIT(self->scope);
    Py_VISIT(self->body);
    Py_VISIT(self->iterator);
    return 0;
}

/* Its scope and its way stay, as what a tuple holds does: no cycle is of nothing but these, and whoever still gets at the
 * body while its cycle is taken apart finds them. */
static int
body_clear(Body *self)
{
    Py_CLEAR(self->body);
    Py_CLEAR(self->iterator);
    return 0;
}

static int
abandon(Way *way, Fields *scope)
{
    return way->engine == Py_None ? 0 : tell(way->passing, way->name.abandon, (PyObject *)scope);
}

/* One that nobody exhausts or closes (some adapters never do) must still give its place back. */
static void
body_finalize(Body *self)
{
    if (!self->open || self->process != (long)getpid()) {
        return;
    }
    self->open = 0;
    PyObject *saved = save_error();
    abandon(self->way, self->scope);
    also(close_scope, self->way, self->scope, PyErr_Occurred() != NULL);
    PyErr_Clear(); /* at the end of the interpreter, anything may be gone */
    restore_error(saved);
}

static void
body_dealloc(Body *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    body_clear(self);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->way);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyMemberDef body_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Body, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef body_methods[] = {
    {"__bytes__", (PyCFunction)body_bytes, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef closing_methods[] = {
    {"__bytes__", (PyCFunction)body_bytes, METH_NOARGS, NULL},
    {"close", (PyCFunction)body_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

#define COMMON(methods)                                                   \
    {Py_tp_doc, "A body that is produced piece by piece. One `next` of ours is one `next` of the application's."}, \
    {Py_tp_getattro, body_attribute}, {Py_tp_iter, PyObject_SelfIter}, {Py_tp_iternext, body_next},                \
    {Py_tp_members, body_members}, {Py_tp_methods, methods}, {Py_tp_traverse, body_traverse},                      \
    {Py_tp_clear, body_clear}, {Py_tp_finalize, body_finalize}, {Py_tp_dealloc, body_dealloc}

static PyType_Slot plain_slots[] = {COMMON(body_methods), {0, NULL}};
static PyType_Slot closing_slots[] = {COMMON(closing_methods), {0, NULL}};
static PyType_Slot sized_slots[] = {COMMON(body_methods), {Py_sq_length, body_length}, {0, NULL}};
static PyType_Slot sized_closing_slots[] = {COMMON(closing_methods), {Py_sq_length, body_length}, {0, NULL}};

#define SPEC(title, its_slots)                                                                      \
    {                                                                                               \
        .name = "stateguard._short." title, .basicsize = sizeof(Body),                              \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,       \
        .slots = its_slots,                                                                         \
    }

PyType_Spec body_specs[BODIES] = {
    [PLAIN] = SPEC("Body", plain_slots),
    [CLOSES] = SPEC("ClosingBody", closing_slots),
    [SIZED] = SPEC("SizedBody", sized_slots),
    [SIZED_CLOSES] = SPEC("SizedClosingBody", sized_closing_slots),
};

/* -- the call ----------------------------------------------------------------------------------------------- */

/* Whether threads keep anything between requests that has to be looked at around each. */
static int
looks_at_threads(Way *way)
{
    PyObject *watcher = Py_XNewRef(READ(way, watcher));
    PyObject *graph = watcher == NULL ? NULL : PyObject_GetAttr(watcher, way->name.graph);
    PyObject *locals = graph == NULL ? NULL : PyObject_GetAttr(graph, way->name.locals);
    int any = locals == NULL ? -1 : PyObject_IsTrue(locals);
    Py_XDECREF(locals);
    Py_XDECREF(graph);
    Py_XDECREF(watcher);
    if (any < 0) {
        PyErr_Clear();
    }
    return any != 0;
}

/* A scope for the request, which it is noted for. NULL with an error set. */
static Fields *
scope_of(Way *way, PyObject *environ)
{
    PyObject *id = NULL, *method = NULL, *script = NULL, *path = NULL, *stream = NULL, *query = NULL, *remote = NULL;
    PyObject *now = NULL;
    int watched = way->engine != Py_None;
    Fields *scope = open_scope(way);
    if (scope != NULL && (id = entry(environ, way->name.request_id)) != NULL &&
        (method = entry(environ, way->name.request_method)) != NULL &&
        (script = entry(environ, way->name.script_name)) != NULL && (path = entry(environ, way->name.path_info)) != NULL &&
        (stream = entry(environ, way->name.input)) != NULL && (query = entry(environ, way->name.query)) != NULL &&
        (remote = entry(environ, way->name.remote)) != NULL && note_time(way, scope) == 0 &&
        (now = time_of(scope)) != NULL) {
        scope->exchange = Py_NewRef(stream == Py_None ? environ : stream);
        scope->request = PyTuple_Pack(7, way->identify, way->guard, id, method, script, path, now);
        scope->origin = watched ? PyTuple_Pack(5, query, way->nothing, remote, path, environ) : NULL;
    }
    if (scope != NULL && (scope->request == NULL || (watched && scope->origin == NULL))) {
        Py_CLEAR(scope);
    }
    Py_XDECREF(id);
    Py_XDECREF(method);
    Py_XDECREF(script);
    Py_XDECREF(path);
    Py_XDECREF(stream);
    Py_XDECREF(query);
    Py_XDECREF(remote);
    Py_XDECREF(now);
    return scope;
}

/* Whether an object has an attribute, as hasattr() says it: -1 with an error set if that cannot be told. */
static int
has(PyObject *object, PyObject *name)
{
#if PY_VERSION_HEX >= 0x030D0000
    return PyObject_HasAttrWithError(object, name);
#else
    PyObject *value;
    int found = _PyObject_LookupAttr(object, name, &value); /* without making an exception first */
    Py_XDECREF(value);
    return found;
#endif
}

/* Whether the server sends a body without running the application again. -1 with an error set. */
static int
is_complete(Way *way, PyObject *body, PyObject *environ)
{
    if (PyList_CheckExact(body) || PyTuple_CheckExact(body) || PyBytes_CheckExact(body)) {
        return 1;
    }
    PyObject *wrapper = entry(environ, way->name.file_wrapper);
    if (wrapper == NULL) {
        return -1;
    }
    int file = PyType_Check(wrapper) ? PyObject_IsInstance(body, wrapper) : 0;
    Py_DECREF(wrapper);
    return file ? file : has((PyObject *)Py_TYPE(body), way->name.fileno);
}

/* The body that the server is given. NULL with an error set. */
static PyObject *
wrapped(Way *way, Fields *scope, PyObject *body)
{
    int sized = has((PyObject *)Py_TYPE(body), way->name.length);
    int closing = sized < 0 ? -1 : has(body, way->name.close);
    if (closing < 0) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)way->body_types[sized ? (closing ? SIZED_CLOSES : SIZED) : closing ? CLOSES : PLAIN];
    Body *self = (Body *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->way = (Way *)Py_NewRef(way); /* from here on no code runs before it is complete */
    self->scope = (Fields *)Py_NewRef(scope);
    self->body = Py_NewRef(body);
    self->process = (long)getpid();
    self->open = 1;
    return (PyObject *)self;
}

PyObject *
way_call(Way *self, PyObject *const *args, Py_ssize_t n)
{
    if (n != 3) {
        PyErr_SetString(PyExc_TypeError, "call() takes an application, and what it is called with");
        return NULL;
    }
    PyObject *environ = args[1];
    if (!PyDict_CheckExact(environ) || !may_open(self) ||
        (self->engine != Py_None && (!may_pass(self) || looks_at_threads(self)))) {
        Py_RETURN_NOTIMPLEMENTED;
    }
    Fields *scope = scope_of(self, environ);
    if (scope == NULL) {
        return NULL;
    }
    PyObject *body = NULL, *answer = NULL;
    int complete = 1;
    Entry entry;
    if ((self->engine == Py_None || enlist(self, scope) == 0) && enter(self, scope, &entry) == 0) {
        body = PyObject_Vectorcall(args[0], args + 1, 2, NULL);
        if (body != NULL) {
            complete = is_complete(self, body, environ);
        }
        if (leave(self, scope, &entry) < 0) {
            complete = -1;
        }
    }
    if (complete == 0) {
        answer = wrapped(self, scope, body);
    }
    if (answer == NULL && finish(self, scope) == 0 && body != NULL && complete > 0) {
        answer = Py_NewRef(body);
    }
    Py_XDECREF(body);
    Py_DECREF(scope);
    return answer;
}
