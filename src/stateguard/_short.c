/* The short way of a request through the ASGI middleware: the fields of its scope, what opens and closes it, and
 * what drives a request that is let pass.
 *
 * All of this is said in Python as well: scope.py, passing.py and asgi.py serve an installation without a compiled
 * part, and every request that is not as simple as most. It is said here because a server's caches have forgotten
 * us when the next request comes. A scope cost a request 5 to 6 microseconds while the same few steps were fetched
 * as bytecode each time, and costs 2.3 as this, where that was measured.
 *
 * A Way belongs to one middleware and holds all that is asked for; there is no other state, so that interpreters
 * do not meet here. What is read of the guard's own objects are plain attributes: reading one runs no Python.
 */

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

static int
fields_traverse(Fields *self, visitproc visit, void *arg)
{
    PyObject **field = &self->FIRST_FIELD;
    Py_VISIT(Py_TYPE(self));
    for (size_t i = 0; i < FIELDS; i++) {
        Py_VISIT(field[i]);
    }
    return 0;
}

static int
fields_clear(Fields *self)
{
    PyObject **field = &self->FIRST_FIELD;
    for (size_t i = 0; i < FIELDS; i++) {
        Py_CLEAR(field[i]);
    }
    return 0;
}

static void
fields_dealloc(Fields *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, fields_dealloc) /* one may be the parent of another, and so on */
    fields_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

#define FIELD(name, field) {name, T_OBJECT_EX, offsetof(Fields, field), 0, NULL}

static PyMemberDef fields_members[] = {
    FIELD("_factory", factory),   FIELD("_request", request), FIELD("account", account),
    FIELD("began", began),        FIELD("carrier", carrier),  FIELD("closed", closed),
    FIELD("exchange", exchange),  FIELD("left", left),        FIELD("origin", origin),
    FIELD("owner", owner),        FIELD("parent", parent),    FIELD("previous", previous),
    FIELD("stepped", stepped),    FIELD("suspect", suspect),  FIELD("values", values),
    FIELD("var_token", var_token), {NULL, 0, 0, 0, NULL},
};

static PyType_Slot fields_slots[] = {
    {Py_tp_doc, "What a scope keeps, and what is noted of the request that it belongs to."},
    {Py_tp_members, fields_members},
    {Py_tp_traverse, fields_traverse},
    {Py_tp_clear, fields_clear},
    {Py_tp_dealloc, fields_dealloc},
    {0, NULL},
};

static PyType_Spec fields_spec = {
    .name = "stateguard._short.ScopeFields",
    .basicsize = sizeof(Fields),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = fields_slots,
};

static void
put(PyObject **field, PyObject *value)
{
    PyObject *before = *field;
    *field = Py_NewRef(value);
    Py_XDECREF(before); /* last: it may run anything */
}

/* The module's types, by which what is given is told. */
typedef struct {
    PyObject *fields;
    PyObject *drive;
    PyObject *way;
} State;

/* -- the way ----------------------------------------------------------------------------------------------- */

/* What a Way is given, by these names. */
#define GIVEN(X) \
    X(awaited) X(by_thread) X(clock) X(current) X(ended) X(entered) X(finder) X(guard) X(identify) X(pace) \
    X(passing) X(running) X(scope) X(scopes) X(session_factory) X(engine) X(tally) X(time) X(unseen)

/* Names that are asked for. */
#define NAMES(X) \
    X(active) X(armed) X(client) X(covered) X(end) X(gait) X(go_on) X(headers) X(http) X(looks) X(method) \
    X(mode) X(next_look) X(off) X(open) X(over) X(path) X(query_string) X(requests) X(sample) X(since) \
    X(sparse) X(started) X(type) X(used) X(websocket) X(contextvar)

/* What each step asks for, and of whom: read in place where it is a slot. */
#define CELLS(X) \
    X(finder, armed) X(unseen, covered) X(pace, gait) X(unseen, looks) X(pace, next_look) X(passing, open) \
    X(tally, requests) X(unseen, since) X(engine, started)

#define DECLARE(name) PyObject *name;
#define DECLARE_CELL(holder, name) PyObject **name;

typedef struct {
    PyObject_HEAD
    PyObject *drive_type;
    GIVEN(DECLARE)
    struct {
        NAMES(DECLARE)
    } name;
    struct {
        CELLS(DECLARE_CELL)
    } cell; /* where in those objects, which live as long as the Way; NULL: it has to be asked for by its name */
    PyObject *none_stepped; /* -1: no step yet */
    PyObject *zero;
    long long sampled;
    Py_ssize_t suspects;
} Way;

typedef struct {
    PyObject_HEAD
    Way *way;
    PyObject *coroutine;
    Fields *scope;
    PyObject *delegate; /* the driver in Python, once looks have become closer or something was thrown in */
    PyObject *stepped;
    char state;
} Drive;

enum { NEW, WAITING, STEPPING, OVER };

static int
way_traverse(Way *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->drive_type);
#define VISIT(field) Py_VISIT(self->field);
    GIVEN(VISIT)
#undef VISIT
    return 0;
}

/* There is no tp_clear, as a tuple has none: nothing that it holds is put there later, so that every cycle goes through
 * something else. Whoever still gets at a Way while its cycle is taken apart finds it whole. */

static void
way_dealloc(Way *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_CLEAR(self->drive_type);
#define CLEAR(field) Py_CLEAR(self->field);
    GIVEN(CLEAR)
#undef CLEAR
#define CLEAR(field) Py_CLEAR(self->name.field);
    NAMES(CLEAR)
#undef CLEAR
    Py_CLEAR(self->none_stepped);
    Py_CLEAR(self->zero);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Where an object keeps what has that name, if its class has a slot for it. */
static PyObject **
cell_of(PyObject *object, PyObject *name)
{
    PyObject **cell = NULL;
    PyObject *slot = PyObject_GetAttr((PyObject *)Py_TYPE(object), name);
    if (slot == NULL) {
        PyErr_Clear();
    }
    else if (Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
        if (member->type == T_OBJECT_EX && PyObject_TypeCheck(object, ((PyDescrObject *)slot)->d_type)) {
            cell = (PyObject **)((char *)object + member->offset);
        }
    }
    Py_XDECREF(slot);
    return cell;
}

static PyObject *
way_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    State *state = PyType_GetModuleState(type);
    if (state == NULL) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) != 0 || kwargs == NULL) {
        PyErr_SetString(PyExc_TypeError, "Way() takes keywords");
        return NULL;
    }
    Way *self = (Way *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    PyObject *value;
    Py_ssize_t given = 2;
#define TAKE(field)                                              \
    value = PyDict_GetItemString(kwargs, #field);                \
    if (value == NULL) {                                         \
        PyErr_SetString(PyExc_TypeError, "Way(): no " #field);   \
        goto failed;                                             \
    }                                                            \
    self->field = Py_NewRef(value);                              \
    given++;
    GIVEN(TAKE)
#undef TAKE
#define INTERN(field)                                            \
    self->name.field = PyUnicode_InternFromString(#field);       \
    if (self->name.field == NULL) {                              \
        goto failed;                                             \
    }
    NAMES(INTERN)
#undef INTERN
    PyObject *sampled = PyDict_GetItemString(kwargs, "sampled");
    PyObject *suspects = PyDict_GetItemString(kwargs, "suspects");
    if (sampled == NULL || suspects == NULL || given != PyDict_GET_SIZE(kwargs)) {
        PyErr_SetString(PyExc_TypeError, "Way() takes other keywords");
        goto failed;
    }
    self->sampled = PyLong_AsLongLong(sampled);
    self->suspects = PyLong_AsSsize_t(suspects);
    if (PyErr_Occurred()) {
        goto failed;
    }
    int fits = PyType_Check(self->scope) && PyType_IsSubtype((PyTypeObject *)self->scope, (PyTypeObject *)state->fields);
    if (!fits || self->sampled < 1 || !PyContextVar_CheckExact(self->entered) ||
        !PyContextVar_CheckExact(self->current) || !PyLong_CheckExact(self->running) ||
        (self->engine == Py_None ? self->scopes != Py_None : !PyDict_CheckExact(self->scopes))) {
        PyErr_SetString(PyExc_TypeError,
                        "Way() takes a kind of scope, context variables, numbers and, with an engine, a dictionary");
        goto failed;
    }
    self->drive_type = Py_NewRef(state->drive); /* not by its name in the module: anybody may put another there */
    self->none_stepped = PyLong_FromLong(-1);
    self->zero = PyLong_FromLong(0);
    if (self->none_stepped == NULL || self->zero == NULL) {
        goto failed;
    }
#define FIND(holder, field) self->cell.field = cell_of(self->holder, self->name.field);
    CELLS(FIND)
#undef FIND
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

/* Whether an attribute of one of the guard's objects is `expected`, by identity. No error: then it is not. */
static int
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

/* What a step asks for: a reference, or NULL with an error set. */
#define READ(way, holder, field) \
    ((way)->cell.field != NULL && *(way)->cell.field != NULL ? Py_NewRef(*(way)->cell.field) \
                                                             : PyObject_GetAttr((way)->holder, (way)->name.field))

/* Whether it is `expected`. */
#define READS(way, holder, field, expected) \
    ((way)->cell.field != NULL && *(way)->cell.field != NULL \
         ? *(way)->cell.field == (expected) \
         : attribute_is((way)->holder, (way)->name.field, (expected)))

/* What a context variable holds; NULL, and no error, if that is None. Borrowed: the context keeps it. */
static PyObject *
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

/* A value in an ASGI scope, None if it lacks one. A reference of our own: a key may be of a class that compares in
 * Python, an allocation may start the collector, and either may change the dictionary. */
static PyObject *
entry(PyObject *dict, PyObject *name)
{
    PyObject *value = PyDict_GetItemWithError(dict, name);
    return value == NULL && PyErr_Occurred() ? NULL : Py_NewRef(value == NULL ? Py_None : value);
}

static int
is_text(PyObject *value, PyObject *text)
{
    return value == text || (PyUnicode_CheckExact(value) && PyUnicode_Compare(value, text) == 0);
}

PyDoc_STRVAR(way_open_doc,
"open(scope, /)\n--\n\n"
"Open and enter a scope for the request of an ASGI scope. None if it is not as simple as most: nothing is done\n"
"then.");

static PyObject *
way_open(Way *self, PyObject *asgi)
{
    int watched = self->engine != Py_None;
    if (!PyDict_CheckExact(asgi)) {
        Py_RETURN_NONE;
    }
    if (watched) {
        if (!READS(self, passing, open, Py_True) || !READS(self, pace, gait, self->name.sparse)) {
            Py_RETURN_NONE;
        }
        PyObject *inherited = in_context(self->current);
        if (inherited != NULL && !attribute_is(inherited, self->name.active, Py_False)) {
            Py_RETURN_NONE;
        }
    }
    PyObject *kind = NULL, *headers = NULL, *method = NULL, *path = NULL, *query = NULL, *client = NULL, *now = NULL;
    PyObject *opened = NULL;
    Fields *scope = NULL;
    if ((kind = entry(asgi, self->name.type)) == NULL || (headers = entry(asgi, self->name.headers)) == NULL) {
        goto done;
    }
    if (!(is_text(kind, self->name.http) || is_text(kind, self->name.websocket)) || !PyList_CheckExact(headers) ||
        in_context(self->entered) != NULL || !attribute_is(self->by_thread, self->name.used, Py_False) ||
        attribute_is(self->guard, self->name.mode, self->name.off)) {
        opened = Py_NewRef(Py_None);
        goto done;
    }
    if ((method = entry(asgi, self->name.method)) == NULL || (path = entry(asgi, self->name.path)) == NULL ||
        (now = PyObject_CallNoArgs(self->time)) == NULL) {
        goto done;
    }
    PyTypeObject *type = (PyTypeObject *)self->scope;
    scope = (Fields *)type->tp_alloc(type, 0);
    if (scope == NULL || (scope->values = PyDict_New()) == NULL) {
        goto done;
    }
    scope->request = PyTuple_Pack(7, self->identify, self->guard, kind, method, path, headers, now);
    if (scope->request == NULL) {
        goto done;
    }
    if (watched) {
        if ((query = entry(asgi, self->name.query_string)) == NULL ||
            (client = entry(asgi, self->name.client)) == NULL ||
            (scope->origin = PyTuple_Pack(4, query, headers, client, path)) == NULL) {
            goto done;
        }
        scope->account = Py_NewRef(Py_None);
        scope->suspect = Py_NewRef(Py_None);
        scope->began = Py_NewRef(self->zero);
        scope->stepped = Py_NewRef(self->none_stepped);
    }
    scope->carrier = Py_NewRef(self->name.contextvar);
    scope->closed = Py_NewRef(Py_False);
    scope->exchange = Py_NewRef(headers);
    scope->factory = Py_NewRef(self->session_factory);
    scope->left = Py_NewRef(Py_False);
    scope->owner = Py_NewRef(self->guard);
    scope->parent = Py_NewRef(Py_None);
    scope->previous = Py_NewRef(Py_None);
    scope->here = PyContextVar_Set(self->entered, (PyObject *)scope);
    if (scope->here != NULL) {
        opened = Py_NewRef(scope);
    }
done:
    Py_XDECREF(kind);
    Py_XDECREF(headers);
    Py_XDECREF(method);
    Py_XDECREF(path);
    Py_XDECREF(query);
    Py_XDECREF(client);
    Py_XDECREF(now);
    Py_XDECREF(scope);
    return opened;
}

PyDoc_STRVAR(way_close_doc,
"close(scope, /)\n--\n\n"
"Leave and close a scope that `open` has opened. Safe to call late, or from elsewhere.");

static PyObject *
way_close(Way *self, PyObject *object)
{
    if (Py_TYPE(object) != (PyTypeObject *)self->scope) {
        PyErr_SetString(PyExc_TypeError, "close() takes what open() has returned");
        return NULL;
    }
    Fields *scope = (Fields *)object;
    PyObject *here = scope->here;
    scope->here = NULL;
    if (in_context(self->entered) != object) {
        put(&scope->left, Py_True); /* out of order, or from another context */
    }
    else if (here == NULL || PyContextVar_Reset(self->entered, here) < 0) {
        PyErr_Clear(); /* set in another context, of which this one is a copy */
        PyObject *token = PyContextVar_Set(self->entered, Py_None);
        if (token == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(token);
    }
    Py_XDECREF(here);
    put(&scope->closed, Py_True);
    put(&scope->parent, Py_None);
    put(&scope->exchange, Py_None);
    put(&scope->factory, self->ended);
    PyObject *values = PyDict_New(); /* also if there are none: who is making one now holds the old dictionary */
    if (values == NULL) {
        return NULL;
    }
    put(&scope->values, values);
    Py_DECREF(values);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(way_serve_doc,
"serve(awaitable, scope, /)\n--\n\n"
"What to await for the request of `scope`: `awaitable` itself where nobody watches.");

static PyObject *
way_serve(Way *self, PyObject *const *args, Py_ssize_t n)
{
    if (n != 2 || Py_TYPE(args[1]) != (PyTypeObject *)self->scope) {
        PyErr_SetString(PyExc_TypeError, "serve() takes an awaitable, and what open() has returned");
        return NULL;
    }
    if (self->engine == Py_None) {
        return Py_NewRef(args[0]);
    }
    PyObject *coroutine = PyCoro_CheckExact(args[0]) ? Py_NewRef(args[0]) : PyObject_CallOneArg(self->awaited, args[0]);
    if (coroutine == NULL) {
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)self->drive_type;
    Drive *drive = (Drive *)type->tp_alloc(type, 0);
    if (drive == NULL) {
        Py_DECREF(coroutine);
        return NULL;
    }
    drive->coroutine = coroutine; /* from here on no code runs before it is complete */
    drive->way = (Way *)Py_NewRef(self);
    drive->scope = (Fields *)Py_NewRef(args[1]);
    drive->stepped = Py_NewRef(self->none_stepped);
    return (PyObject *)drive;
}

static PyMethodDef way_methods[] = {
    {"open", (PyCFunction)way_open, METH_O, way_open_doc},
    {"close", (PyCFunction)way_close, METH_O, way_close_doc},
    {"serve", (PyCFunction)(void (*)(void))way_serve, METH_FASTCALL, way_serve_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot way_slots[] = {
    {Py_tp_doc, "The short way through one middleware."},
    {Py_tp_new, way_new},
    {Py_tp_methods, way_methods},
    {Py_tp_traverse, way_traverse},
    {Py_tp_dealloc, way_dealloc},
    {0, NULL},
};

static PyType_Spec way_spec = {
    .name = "stateguard._short.Way",
    .basicsize = sizeof(Way),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = way_slots,
};

/* -- driving a request that is let pass: Passing.serve, see there -------------------------------------------- */

typedef struct {
    PyObject *type, *value, *traceback, *handled;
} Saved;

/* Before something that has to be done whatever was raised: as in a `finally`, that is being handled meanwhile, and
 * becomes the context of what is raised then. */
static Saved
save_error(void)
{
    Saved saved = {NULL, NULL, NULL, NULL};
    PyErr_Fetch(&saved.type, &saved.value, &saved.traceback);
    if (saved.type != NULL) {
        PyErr_NormalizeException(&saved.type, &saved.value, &saved.traceback);
        if (saved.traceback != NULL) {
            PyException_SetTraceback(saved.value, saved.traceback);
        }
        saved.handled = PyErr_GetHandledException();
        PyErr_SetHandledException(saved.value);
    }
    return saved;
}

/* Raise it again, unless something else was raised. */
static void
restore_error(Saved saved)
{
    if (saved.type == NULL) {
        return;
    }
    PyErr_SetHandledException(saved.handled);
    Py_XDECREF(saved.handled);
    if (!PyErr_Occurred()) {
        PyErr_Restore(saved.type, saved.value, saved.traceback);
        return;
    }
    Py_XDECREF(saved.type);
    Py_XDECREF(saved.value);
    Py_XDECREF(saved.traceback);
}

/* Call a method of the guard's for its effect: 0, or -1 with an error set (a signal handler's). */
static int
tell(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *answer = PyObject_CallMethodOneArg(object, name, argument);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* A reference to an integer is taken over; an error in its place is none: then it is -1. */
static long long
number(PyObject *value)
{
    int beyond = 0;
    long long result = value == NULL ? -1 : PyLong_AsLongLongAndOverflow(value, &beyond);
    Py_XDECREF(value);
    if (result == -1) {
        PyErr_Clear();
    }
    return beyond > 0 ? LLONG_MAX : beyond < 0 ? LLONG_MIN : result;
}

static int
may_pass(Way *way)
{
    return READS(way, pace, gait, way->name.sparse) && READS(way, finder, armed, Py_False) &&
           READS(way, engine, started, Py_True);
}

static int
begin(Drive *self)
{
    Way *way = self->way;
    PyObject *scope = (PyObject *)self->scope;
    if (PyDict_SetItem(way->scopes, scope, scope) < 0) {
        return -1;
    }
    self->state = STEPPING; /* it has begun, and is not to be sent anything by what is called in here */
    long long requests = number(READ(way, tally, requests)) + 1;
    PyObject *count = PyLong_FromLongLong(requests);
    if (count == NULL || PyObject_SetAttr(way->tally, way->name.requests, count) < 0) {
        Py_XDECREF(count);
        return -1;
    }
    Py_DECREF(count);
    return requests % way->sampled ? 0 : tell(way->passing, way->name.sample, scope);
}

/* A step has ended that nobody looked around. */
static int
stepped(Drive *self)
{
    Way *way = self->way;
    PyObject *looks = READ(way, unseen, looks);
    if (looks == NULL) {
        return -1;
    }
    put(&self->scope->stepped, looks);
    put(&self->stepped, looks);
    Py_DECREF(looks);
    PyObject *now = PyObject_CallNoArgs(way->clock);
    if (now == NULL) {
        return -1;
    }
    PyObject *next = READ(way, pace, next_look);
    int early = 0;
    if (next == NULL) {
        PyErr_Clear();
    }
    else if (PyLong_CheckExact(now) && PyLong_CheckExact(next)) {
        early = PyObject_RichCompareBool(now, next, Py_LT) == 1; /* quicker than to make a number of each */
    }
    Py_XDECREF(next);
    Py_DECREF(now);
    if (early && READS(way, finder, armed, Py_False) && READS(way, pace, gait, way->name.sparse)) {
        return 0;
    }
    return tell(way->passing, way->name.end, (PyObject *)self->scope);
}

/* The request has ended. */
static int
finish(Drive *self)
{
    Way *way = self->way;
    Fields *scope = self->scope;
    if (self->state == OVER) {
        return 0;
    }
    int begun = self->state != NEW;
    self->state = OVER;
    Py_CLEAR(self->delegate);
    if (!begun) {
        return 0;
    }
    int unsampled = scope->began == way->zero ||
                    (scope->began != NULL && PyLong_CheckExact(scope->began) && number(Py_NewRef(scope->began)) == 0);
    if (scope->account != Py_None || scope->suspect != Py_None || !unsampled) {
        return tell(way->passing, way->name.over, (PyObject *)scope);
    }
    /* Since it began nobody has looked after a step of it, nor named it. */
    PyObject *since = READ(way, unseen, since);
    if (since == NULL) {
        return -1;
    }
    int result = 0;
    if (number(Py_NewRef(self->stepped)) >= number(READ(way, unseen, covered)) && PyDict_CheckExact(since) &&
        PyDict_GET_SIZE(since) < way->suspects) {
        result = PyDict_SetItem(since, (PyObject *)scope, Py_None);
    }
    Py_DECREF(since);
    if (result == 0 && PyDict_Contains(way->scopes, (PyObject *)scope) == 1 &&
        PyDict_DelItem(way->scopes, (PyObject *)scope) < 0) {
        PyErr_Clear();
    }
    return result;
}

/* Let the driver in Python go on: with `value` sent, or `thrown` thrown in. */
static PySendResult
go_on(Drive *self, PyObject *value, PyObject *thrown, PyObject **result)
{
    Way *way = self->way;
    *result = NULL;
    put(&self->scope->stepped, self->stepped);
    PyObject *list = PyList_New(0);
    if (list == NULL || (thrown != NULL && PyList_Append(list, thrown) < 0)) {
        Py_XDECREF(list);
        return PYGEN_ERROR;
    }
    PyObject *arguments[] = {way->passing, self->coroutine, (PyObject *)self->scope, value, list};
    self->delegate = PyObject_VectorcallMethod(way->name.go_on, arguments, 5, NULL);
    Py_DECREF(list);
    return self->delegate == NULL ? PYGEN_ERROR : PyIter_Send(self->delegate, Py_None, result);
}

static PySendResult
drive_send(Drive *self, PyObject *value, PyObject **result)
{
    *result = NULL;
    if (self->state == STEPPING || self->state == OVER) {
        PyErr_SetString(self->state == OVER ? PyExc_RuntimeError : PyExc_ValueError,
                        self->state == OVER ? "cannot reuse an awaited request" : "request already executing");
        return PYGEN_ERROR;
    }
    PySendResult outcome = PYGEN_ERROR;
    if (self->state == NEW && begin(self) < 0) {
        goto ended;
    }
    self->state = STEPPING;
    if (self->delegate != NULL) {
        outcome = PyIter_Send(self->delegate, value, result);
    }
    else {
        put(&self->scope->stepped, self->way->running); /* before the gait is asked for: see Passing.serve */
        if (!may_pass(self->way)) {
            outcome = go_on(self, value, NULL, result);
        }
        else {
            outcome = PyIter_Send(self->coroutine, value, result);
            Saved saved = save_error();
            if (stepped(self) < 0) {
                Py_CLEAR(*result);
                outcome = PYGEN_ERROR;
            }
            restore_error(saved);
        }
    }
    if (outcome == PYGEN_NEXT) {
        self->state = WAITING;
        return outcome;
    }
ended:;
    Saved saved = save_error();
    if (finish(self) < 0) {
        Py_CLEAR(*result);
        outcome = PYGEN_ERROR;
    }
    restore_error(saved);
    return outcome;
}

/* The same, said with exceptions, for whoever calls methods. */
static PyObject *
said(PySendResult outcome, PyObject *result)
{
    if (outcome == PYGEN_RETURN) {
        if (result == Py_None) {
            PyErr_SetNone(PyExc_StopIteration);
        }
        else {
            PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, result); /* a tuple would be unpacked */
            if (stop != NULL) {
                PyErr_SetObject(PyExc_StopIteration, stop);
                Py_DECREF(stop);
            }
        }
        Py_DECREF(result);
        return NULL;
    }
    return result;
}

static PyObject *
drive_send_method(Drive *self, PyObject *value)
{
    PyObject *result;
    PySendResult outcome = drive_send(self, value, &result);
    return said(outcome, result);
}

static PyObject *
drive_next(Drive *self)
{
    return drive_send_method(self, Py_None);
}

/* The exception that `throw(type, value, traceback)` means. */
static PyObject *
thrown_in(PyObject *const *args, Py_ssize_t n)
{
    PyObject *error = NULL;
    PyObject *value = n > 1 && args[1] != Py_None ? args[1] : NULL;
    if (PyExceptionInstance_Check(args[0])) {
        error = Py_NewRef(args[0]);
    }
    else if (!PyExceptionClass_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "exceptions must be classes or instances deriving from BaseException");
        return NULL;
    }
    else if (value != NULL && PyExceptionInstance_Check(value) && PyObject_TypeCheck(value, (PyTypeObject *)args[0])) {
        error = Py_NewRef(value);
    }
    else {
        error = value == NULL            ? PyObject_CallNoArgs(args[0])
                : PyTuple_Check(value) ? PyObject_CallObject(args[0], value)
                                       : PyObject_CallOneArg(args[0], value);
        if (error != NULL && !PyExceptionInstance_Check(error)) { /* a class may make anything */
            PyErr_Format(PyExc_TypeError, "calling %R should have returned an instance of BaseException, not %R",
                         args[0], Py_TYPE(error));
            Py_CLEAR(error);
        }
    }
    if (error != NULL && n > 2 && args[2] != Py_None && PyException_SetTraceback(error, args[2]) < 0) {
        Py_CLEAR(error);
    }
    return error;
}

static PyObject *
drive_throw(Drive *self, PyObject *const *args, Py_ssize_t n)
{
    if (n < 1 || n > 3) {
        PyErr_SetString(PyExc_TypeError, "throw() takes one to three arguments");
        return NULL;
    }
    if (self->state == STEPPING) {
        PyErr_SetString(PyExc_ValueError, "request already executing");
        return NULL;
    }
    PyObject *error = thrown_in(args, n);
    if (error == NULL) {
        return NULL;
    }
    PyObject *result = NULL;
    PySendResult outcome = PYGEN_ERROR;
    if (self->state == OVER || self->state == NEW) { /* as of a generator: what has not begun never will */
        self->state = OVER;
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
        return NULL;
    }
    self->state = STEPPING;
    if (self->delegate == NULL) {
        outcome = go_on(self, Py_None, error, &result);
        Py_DECREF(error);
    }
    else {
        PyObject *method = PyObject_GetAttrString(self->delegate, "throw");
        result = method == NULL ? NULL : PyObject_CallOneArg(method, error);
        Py_XDECREF(method);
        Py_DECREF(error);
        outcome = result == NULL ? PYGEN_ERROR : PYGEN_NEXT; /* a StopIteration says what was returned */
    }
    if (outcome == PYGEN_NEXT) {
        self->state = WAITING;
        return result;
    }
    Saved saved = save_error();
    if (finish(self) < 0) {
        Py_CLEAR(result);
        outcome = PYGEN_ERROR;
    }
    restore_error(saved);
    return outcome == PYGEN_ERROR ? NULL : said(outcome, result);
}

static PyObject *
drive_close(Drive *self, PyObject *Py_UNUSED(ignored))
{
    if (self->state == OVER || self->state == NEW) {
        self->state = OVER;
        Py_RETURN_NONE;
    }
    PyObject *type = PyExc_GeneratorExit;
    PyObject *result = drive_throw(self, &type, 1);
    if (result != NULL) {
        Py_DECREF(result);
        PyErr_SetString(PyExc_RuntimeError, "request ignored GeneratorExit");
        return NULL;
    }
    if (PyErr_ExceptionMatches(PyExc_GeneratorExit) || PyErr_ExceptionMatches(PyExc_StopIteration)) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    return NULL;
}

static int
drive_traverse(Drive *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->way);
    Py_VISIT(self->coroutine);
    Py_VISIT(self->scope);
    Py_VISIT(self->delegate);
    return 0;
}

static int
drive_clear(Drive *self)
{
    self->state = OVER; /* a finalizer may still get at it while its cycle is taken apart */
    Py_CLEAR(self->delegate);
    Py_CLEAR(self->coroutine);
    Py_CLEAR(self->scope);
    Py_CLEAR(self->way);
    return 0;
}

/* Let go of while it waits: closed, as a generator is, and in any case not among those under way any more. */
static void
drive_finalize(Drive *self)
{
    if (self->state != WAITING) {
        return;
    }
    Saved saved = save_error();
    PyObject *closed = drive_close(self, NULL);
    if (closed == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(closed);
    if (self->state == WAITING && finish(self) < 0) { /* it went on waiting */
        PyErr_WriteUnraisable((PyObject *)self);
    }
    restore_error(saved);
}

static void
drive_dealloc(Drive *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    drive_clear(self);
    Py_CLEAR(self->stepped);
    type->tp_free(self);
    Py_DECREF(type);
}

/* Who asks what a task waits for goes from coroutine to coroutine: this one stands for the one that it drives. */
static PyObject *
of_coroutine(Drive *self, void *name)
{
    if (self->coroutine == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *coroutine = Py_NewRef(self->coroutine);
    PyObject *value = PyObject_GetAttrString(coroutine, (const char *)name);
    Py_DECREF(coroutine);
    return value;
}

static PyGetSetDef drive_attributes[] = {
    {"cr_await", (getter)of_coroutine, NULL, NULL, (void *)"cr_await"},
    {"cr_code", (getter)of_coroutine, NULL, NULL, (void *)"cr_code"},
    {"cr_frame", (getter)of_coroutine, NULL, NULL, (void *)"cr_frame"},
    {"cr_running", (getter)of_coroutine, NULL, NULL, (void *)"cr_running"},
    {"cr_suspended", (getter)of_coroutine, NULL, NULL, (void *)"cr_suspended"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef drive_methods[] = {
    {"send", (PyCFunction)drive_send_method, METH_O, NULL},
    {"throw", (PyCFunction)(void (*)(void))drive_throw, METH_FASTCALL, NULL},
    {"close", (PyCFunction)drive_close, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot drive_slots[] = {
    {Py_tp_doc, "Awaits a coroutine in place for a request that is let pass."},
    {Py_am_await, PyObject_SelfIter},
    {Py_am_send, drive_send},
    {Py_tp_iter, PyObject_SelfIter},
    {Py_tp_iternext, drive_next},
    {Py_tp_methods, drive_methods},
    {Py_tp_getset, drive_attributes},
    {Py_tp_traverse, drive_traverse},
    {Py_tp_clear, drive_clear},
    {Py_tp_finalize, drive_finalize},
    {Py_tp_dealloc, drive_dealloc},
    {0, NULL},
};

static PyType_Spec drive_spec = {
    .name = "stateguard._short.Drive",
    .basicsize = sizeof(Drive),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = drive_slots,
};

/* -- the module -------------------------------------------------------------------------------------------- */

static int
execute(PyObject *module)
{
    State *state = PyModule_GetState(module);
    struct {
        PyObject **place;
        const char *name;
        PyType_Spec *spec;
    } types[] = {
        {&state->fields, "ScopeFields", &fields_spec},
        {&state->drive, "Drive", &drive_spec},
        {&state->way, "Way", &way_spec},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        *types[i].place = PyType_FromModuleAndSpec(module, types[i].spec, NULL);
        if (*types[i].place == NULL || PyModule_AddObjectRef(module, types[i].name, *types[i].place) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->fields);
    Py_VISIT(state->drive);
    Py_VISIT(state->way);
    return 0;
}

static int
module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->fields);
    Py_CLEAR(state->drive);
    Py_CLEAR(state->way);
    return 0;
}

static void
module_free(void *module)
{
    module_clear(module);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
#if PY_VERSION_HEX >= 0x030C0000
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "stateguard._short",
    .m_doc = "The short way of a request through the ASGI middleware. See short.py.",
    .m_size = sizeof(State),
    .m_slots = slots,
    .m_traverse = module_traverse,
    .m_clear = module_clear,
    .m_free = module_free,
};

PyMODINIT_FUNC
PyInit__short(void)
{
    return PyModuleDef_Init(&definition);
}
