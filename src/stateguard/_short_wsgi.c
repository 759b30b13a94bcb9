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

typedef struct {
    Way *way;
    Fields *scope;
    PyObject *here;   /* the token of the context variable, where nothing was entered before */
    PyObject *token;  /* what the scope has returned, where something was */
    PyObject *unseen; /* the thread on which a stretch is under way whose beginning nobody was told of */
} Stretch;

/* On the account of the guarded request, while one has been made of this. */
static int
take_account(Way *way, PyObject *account)
{
    Py_INCREF(account);
    PyObject *mark = PyContextVar_Set(way->current, account);
    int result = mark == NULL ? -1 : PyObject_SetAttr(account, way->name.mark, mark);
    Py_XDECREF(mark);
    Py_DECREF(account);
    return result;
}

/* Code of the application is about to run: 0, or -1 with an error set. `leave` is due in any case. */
static int
enter(Stretch *self)
{
    Way *way = self->way;
    Fields *scope = self->scope;
    if (in_context(way->entered) == NULL) {
        Py_XSETREF(self->here, PyContextVar_Set(way->entered, (PyObject *)scope));
        if (self->here == NULL) {
            return -1;
        }
    }
    else {
        PyObject *token = PyObject_CallMethodNoArgs((PyObject *)scope, way->name.enter);
        if (token == NULL) {
            return -1;
        }
        Py_XSETREF(self->token, token);
    }
    if (way->engine == Py_None) {
        return 0;
    }
    if (scope->account != NULL && scope->account != Py_None) {
        if (take_account(way, scope->account) < 0) {
            return -1;
        }
    }
    else if (scope->stepped != way->running) { /* else another thread is at it as well */
        PyObject *before = Py_XNewRef(scope->stepped);
        put(&scope->stepped, way->running); /* first, and then the gait is asked for */
        if (may_pass(way)) {
            Py_XDECREF(before);
            PyObject *thread = PyObject_CallNoArgs(way->ident);
            if (thread == NULL) {
                return -1;
            }
            Py_XSETREF(self->unseen, thread);
            return 0;
        }
        put(&scope->stepped, before);
        Py_XDECREF(before);
    }
    return tell(way->passing, way->name.begin, (PyObject *)scope);
}

static int
is_here(Stretch *self)
{
    if (self->unseen == NULL) {
        return 0;
    }
    PyObject *thread = PyObject_CallNoArgs(self->way->ident);
    int same = thread == NULL ? -1 : PyObject_RichCompareBool(self->unseen, thread, Py_EQ);
    Py_XDECREF(thread);
    return same;
}

/* It has run, and what it has raised is kept: 0, or -1 with an error set in its place. */
static int
leave(Stretch *self)
{
    Way *way = self->way;
    Fields *scope = self->scope;
    Saved saved = save_error();
    int result = 0;
    if (way->engine != Py_None) {
        int here = is_here(self);
        if (here > 0) {
            Py_CLEAR(self->unseen);
            result = step_ended(way, scope, NULL);
        }
        else {
            result = here < 0 ? -1 : tell(way->passing, way->name.end, (PyObject *)scope);
        }
    }
    Saved raised = save_error(); /* a signal handler's */
    if (way->engine != Py_None && scope->account != NULL && scope->account != Py_None) {
        PyObject *account = Py_NewRef(scope->account);
        result |= tell(way->passing, way->name.give_back, account);
        Py_DECREF(account);
    }
    if (self->token != NULL) { /* first: it was entered last, by a piece that asks for another piece */
        PyObject *token = self->token;
        self->token = NULL;
        PyObject *arguments[] = {(PyObject *)scope, token};
        PyObject *answer = PyObject_VectorcallMethod(way->name.leave, arguments, 2, NULL);
        Py_DECREF(token);
        Py_XDECREF(answer);
        result |= answer == NULL ? -1 : 0;
    }
    else if (self->here != NULL) {
        PyObject *here = self->here;
        self->here = NULL;
        leave_scope(way, scope, here);
    }
    restore_error(raised);
    restore_error(saved);
    return result;
}

/* The request has ended, and what was raised is kept: 0, or -1 with an error set in its place. */
static int
finish(Stretch *self)
{
    Way *way = self->way;
    Fields *scope = self->scope;
    Saved saved = save_error();
    int result = 0;
    if (way->engine != Py_None) {
        result = retire(way, scope, scope->stepped);
        Saved raised = save_error(); /* a signal handler's */
        if (scope->suspect != Py_None) {
            result |= tell(way->passing, way->name.forget, (PyObject *)scope);
        }
        else if (scope->origin != NULL && PyTuple_CheckExact(scope->origin)) {
            /* Whoever suspects it from now on must not keep the environ. */
            PyObject *origin = PyTuple_GetSlice(scope->origin, 0, 4);
            if (origin == NULL) {
                result = -1;
            }
            else {
                put(&scope->origin, origin);
                Py_DECREF(origin);
            }
        }
        restore_error(raised);
    }
    Saved raised = save_error();
    result |= close_scope(way, scope);
    restore_error(raised);
    restore_error(saved);
    return result;
}

static void
clear_stretch(Stretch *self)
{
    Py_CLEAR(self->here);
    Py_CLEAR(self->token);
    Py_CLEAR(self->unseen);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->way);
}

/* -- bodies that are produced piece by piece ------------------------------------------------------------------ */

typedef struct {
    PyObject_HEAD
    Stretch stretch;
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
    PyTypeObject **types = (PyTypeObject **)self->stretch.way->body_types;
    return Py_TYPE(self) == types[CLOSES] || Py_TYPE(self) == types[SIZED_CLOSES];
}

static int
end(Body *self)
{
    if (!self->open) {
        return 0;
    }
    self->open = 0;
    return finish(&self->stretch);
}

/* What the application is asked for within a stretch, for the length of which nothing of the body may go. */
static int
inside(Body *self)
{
    if (self->stretch.way == NULL) { /* its cycle is being taken apart */
        PyErr_SetString(PyExc_RuntimeError, "this body has gone");
        return -1;
    }
    Py_INCREF(self);
    return 0;
}

static PyObject *
body_next(Body *self)
{
    if (inside(self) < 0) {
        return NULL;
    }
    PyObject *piece = NULL;
    if (enter(&self->stretch) == 0) {
        if (self->iterator == NULL) {
            self->iterator = PyObject_GetIter(self->body);
        }
        PyObject *iterator = Py_XNewRef(self->iterator);
        piece = iterator == NULL ? NULL : Py_TYPE(iterator)->tp_iternext(iterator);
        Py_XDECREF(iterator);
    }
    int done = piece == NULL;
    if (leave(&self->stretch) < 0) {
        Py_CLEAR(piece);
    }
    if (done && !closes(self)) {
        end(self);
    }
    Py_DECREF(self);
    return piece; /* none, and no error: it is exhausted */
}

static PyObject *
body_close(Body *self, PyObject *Py_UNUSED(ignored))
{
    if (inside(self) < 0) {
        return NULL;
    }
    PyObject *answer = NULL;
    if (enter(&self->stretch) == 0) {
        answer = PyObject_CallMethodNoArgs(self->body, self->stretch.way->name.close);
    }
    int failed = leave(&self->stretch) < 0;
    failed = end(self) < 0 || failed || answer == NULL;
    Py_XDECREF(answer);
    Py_DECREF(self);
    if (failed) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
body_bytes(Body *self, PyObject *Py_UNUSED(ignored))
{
    if (inside(self) < 0) {
        return NULL;
    }
    PyObject *text = PyObject_CallOneArg((PyObject *)&PyBytes_Type, self->body);
    Py_DECREF(self);
    return text;
}

static Py_ssize_t
body_length(Body *self)
{
    if (inside(self) < 0) {
        return -1;
    }
    Py_ssize_t length = PyObject_Size(self->body);
    Py_DECREF(self);
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
    PyObject *body = Py_NewRef(self->body);
    value = PyObject_GetAttr(body, name);
    Py_DECREF(body);
    return value;
}

static int
body_traverse(Body *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->stretch.way);
    Py_VISIT(self->stretch.scope);
    Py_VISIT(self->stretch.here);
    Py_VISIT(self->stretch.token);
    Py_VISIT(self->body);
    Py_VISIT(self->iterator);
    return 0;
}

static int
body_clear(Body *self)
{
    clear_stretch(&self->stretch);
    Py_CLEAR(self->body);
    Py_CLEAR(self->iterator);
    return 0;
}

/* One that nobody exhausts or closes (some adapters never do) must still give its place back. */
static void
body_finalize(Body *self)
{
    if (!self->open || self->stretch.way == NULL || self->process != (long)getpid()) {
        return;
    }
    self->open = 0;
    Saved saved = save_error();
    Way *way = self->stretch.way;
    Fields *scope = self->stretch.scope;
    int done = way->engine == Py_None ? close_scope(way, scope) : tell(way->passing, way->name.abandon, (PyObject *)scope);
    if (done < 0) {
        PyErr_Clear(); /* at the end of the interpreter, anything may be gone */
    }
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
    PyObject *watcher = READ(way, engine, watcher);
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
    PyObject *id = entry(environ, way->name.request_id), *method = entry(environ, way->name.request_method),
             *script = entry(environ, way->name.script_name), *path = entry(environ, way->name.path_info),
             *stream = entry(environ, way->name.input), *query = entry(environ, way->name.query),
             *remote = entry(environ, way->name.remote), *now = NULL, *request = NULL, *origin = NULL;
    int watched = way->engine != Py_None;
    Fields *scope = NULL;
    if (id != NULL && method != NULL && script != NULL && path != NULL && stream != NULL && query != NULL &&
        remote != NULL && (now = PyObject_CallNoArgs(way->time)) != NULL) {
        request = PyTuple_Pack(7, way->identify, way->guard, id, method, script, path, now);
        origin = request != NULL && watched ? PyTuple_Pack(5, query, way->nothing, remote, path, environ) : NULL;
    }
    if (request != NULL && (origin != NULL || !watched)) {
        scope = open_scope(way, request, stream == Py_None ? environ : stream, origin);
    }
    Py_XDECREF(id);
    Py_XDECREF(method);
    Py_XDECREF(script);
    Py_XDECREF(path);
    Py_XDECREF(stream);
    Py_XDECREF(query);
    Py_XDECREF(remote);
    Py_XDECREF(now);
    Py_XDECREF(request);
    Py_XDECREF(origin);
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

/* The body that the server is given: takes over what the stretch holds. NULL with an error set, and nothing taken. */
static PyObject *
wrapped(Stretch *stretch, PyObject *body)
{
    Way *way = stretch->way;
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
    self->stretch = *stretch;
    memset(stretch, 0, sizeof(*stretch));
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
        Py_RETURN_NONE;
    }
    Fields *scope = scope_of(self, environ);
    if (scope == NULL) {
        return NULL;
    }
    Stretch stretch = {(Way *)Py_NewRef(self), scope, NULL, NULL, NULL};
    PyObject *body = NULL, *answer = NULL;
    int complete = 1;
    if ((self->engine == Py_None || enlist(self, scope) == 0) && enter(&stretch) == 0) {
        body = PyObject_Vectorcall(args[0], args + 1, 2, NULL);
        if (body != NULL) {
            complete = is_complete(self, body, environ);
        }
    }
    if (leave(&stretch) < 0 || complete < 0) {
        complete = -1;
    }
    if (complete == 0) {
        answer = wrapped(&stretch, body);
    }
    if (answer == NULL && finish(&stretch) == 0 && body != NULL && complete > 0) {
        answer = Py_NewRef(body);
    }
    Py_XDECREF(body);
    clear_stretch(&stretch);
    return answer;
}
