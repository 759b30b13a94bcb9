/* The short way of a request through a middleware: the fields of its scope, what opens and closes it, and what notes
 * a request that is let pass. What is done of it for an ASGI application is in _short_asgi.c, for a WSGI application
 * in _short_wsgi.c; _short_timers.c is what an event loop's timers pass through.
 *
 * All of this is said in Python as well: scope.py, passing.py, asgi.py and wsgi.py serve an installation without a
 * compiled part, and every request that is not as simple as most. It is said here because a server's caches have
 * forgotten us when the next request comes. A scope cost a request 5 to 6 microseconds while the same few steps were
 * fetched as bytecode each time, and costs 2.3 as this, where that was measured.
 *
 * A Way belongs to one middleware and holds all that is asked for; there is no other state, so that interpreters
 * do not meet here. What is read of the guard's own objects are plain attributes: reading one runs no Python.
 */

#include "_short.h"

/* -- the fields of a scope -------------------------------------------------------------------------------- */

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
    FIELD("stepped", stepped),    FIELD("suspect", suspect),  FIELD("var_token", var_token),
    {NULL, 0, 0, 0, NULL},
};

/* Made for who asks for it: most requests keep nothing. */
static PyObject *
values_of(Fields *self, void *Py_UNUSED(closure))
{
    if (self->values == NULL) {
        PyObject *values = PyDict_New(); /* which may start the collector, and that anything */
        if (values == NULL) {
            return NULL;
        }
        if (self->values == NULL) {
            self->values = values;
        }
        else {
            Py_DECREF(values);
        }
    }
    return Py_NewRef(self->values);
}

static int
set_values(Fields *self, PyObject *values, void *Py_UNUSED(closure))
{
    put(&self->values, values);
    return 0;
}

static PyGetSetDef fields_attributes[] = {
    {"values", (getter)values_of, (setter)set_values, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot fields_slots[] = {
    {Py_tp_doc, "What a scope keeps, and what is noted of the request that it belongs to."},
    {Py_tp_members, fields_members},
    {Py_tp_getset, fields_attributes},
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

/* -- the way ----------------------------------------------------------------------------------------------- */

static int
way_traverse(Way *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->drive_type);
    for (size_t i = 0; i < BODIES; i++) {
        Py_VISIT(self->body_types[i]);
    }
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
    for (size_t i = 0; i < BODIES; i++) {
        Py_CLEAR(self->body_types[i]);
    }
#define CLEAR(field) Py_CLEAR(self->field);
    GIVEN(CLEAR)
#undef CLEAR
#define CLEAR(field) Py_CLEAR(self->name.field);
    NAMES(CLEAR)
#undef CLEAR
#define CLEAR(field, text) Py_CLEAR(self->name.field);
    TEXTS(CLEAR)
#undef CLEAR
    Py_CLEAR(self->none_stepped);
    Py_CLEAR(self->zero);
    Py_CLEAR(self->nothing);
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

/* Whether it is the interpreter's own function, not what somebody has put in its place. */
static int
is_perf_counter(PyObject *clock)
{
    PyObject *module = PyImport_ImportModule("time");
    int same = module != NULL && PyCFunction_CheckExact(clock) && PyCFunction_GET_SELF(clock) == module &&
               strcmp(((PyCFunctionObject *)clock)->m_ml->ml_name, "perf_counter_ns") == 0;
    PyErr_Clear();
    Py_XDECREF(module);
    return same;
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
#define INTERN(field, text)                                      \
    self->name.field = PyUnicode_InternFromString(text);         \
    if (self->name.field == NULL) {                              \
        goto failed;                                             \
    }
    TEXTS(INTERN)
#define INTERN_NAME(field) INTERN(field, #field)
    NAMES(INTERN_NAME)
#undef INTERN_NAME
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
        !PyContextVar_CheckExact(self->current) || !PyDict_CheckExact(self->clocks) || !PyLong_CheckExact(self->running) ||
        (self->engine == Py_None ? self->scopes != Py_None : !PyDict_CheckExact(self->scopes))) {
        PyErr_SetString(PyExc_TypeError,
                        "Way() takes a kind of scope, context variables, numbers and, with an engine, a dictionary");
        goto failed;
    }
    self->drive_type = Py_NewRef(state->drive); /* not by its name in the module: anybody may put another there */
    for (size_t i = 0; i < BODIES; i++) {
        self->body_types[i] = Py_NewRef(state->bodies[i]);
    }
    self->usual_clock = is_perf_counter(self->clock);
    self->none_stepped = PyLong_FromLong(-1);
    self->zero = PyLong_FromLong(0);
    self->nothing = PyTuple_New(0);
    if (self->none_stepped == NULL || self->zero == NULL || self->nothing == NULL) {
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

/* -- what both ways do ------------------------------------------------------------------------------------- */

/* Whether a request that comes now may be as simple as most, as far as that can be known without looking at it. */
int
may_open(Way *way)
{
    if (way->engine != Py_None) {
        if (!READS(way, passing, open, Py_True) || !READS(way, pace, gait, way->name.sparse)) {
            return 0;
        }
        PyObject *inherited = in_context(way->current);
        if (inherited != NULL && !attribute_is(inherited, way->name.active, Py_False)) {
            return 0;
        }
    }
    return in_context(way->entered) == NULL && READS(way, by_thread, used, Py_False) &&
           !attribute_is(way->guard, way->name.mode, way->name.off);
}

/* When a request begins: by the clock that is in the module now, which tests may have put there. A reference, or NULL
 * with an error set. */
PyObject *
time_of(Way *way)
{
    PyObject *clock = PyDict_GetItemWithError(way->clocks, way->name.time);
    if (clock == NULL) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_RuntimeError, "there is no clock");
        }
        return NULL;
    }
    Py_INCREF(clock);
    PyObject *now = PyCFunction_CheckExact(clock) && PyCFunction_GET_FLAGS(clock) == METH_NOARGS
                        ? PyCFunction_GET_FUNCTION(clock)(PyCFunction_GET_SELF(clock), NULL)
                        : PyObject_CallNoArgs(clock);
    Py_DECREF(clock);
    return now;
}

/* A scope: `request` and `origin` are what its fields of that name are to be, the latter only where somebody watches.
 * NULL with an error set. */
Fields *
open_scope(Way *way, PyObject *request, PyObject *exchange, PyObject *origin)
{
    PyTypeObject *type = (PyTypeObject *)way->scope;
    Fields *scope = (Fields *)type->tp_alloc(type, 0);
    if (scope == NULL || (scope->factory = PyObject_GetAttr(way->guard, way->name.session_factory)) == NULL) {
        Py_XDECREF(scope);
        return NULL;
    }
    if (origin != NULL) {
        scope->account = Py_NewRef(Py_None);
        scope->suspect = Py_NewRef(Py_None);
        scope->began = Py_NewRef(way->zero);
        scope->stepped = Py_NewRef(way->none_stepped);
        scope->origin = Py_NewRef(origin);
    }
    scope->request = Py_NewRef(request);
    scope->carrier = Py_NewRef(way->name.contextvar);
    scope->closed = Py_NewRef(Py_False);
    scope->exchange = Py_NewRef(exchange);
    scope->left = Py_NewRef(Py_False);
    scope->owner = Py_NewRef(way->guard);
    scope->parent = Py_NewRef(Py_None);
    scope->previous = Py_NewRef(Py_None);
    return scope;
}

/* Give back what was current before the scope was entered with the token `here`, which is taken over. */
void
leave_scope(Way *way, Fields *scope, PyObject *here)
{
    if (in_context(way->entered) != (PyObject *)scope) {
        put(&scope->left, Py_True); /* out of order, or from another context */
    }
    else if (here == NULL || PyContextVar_Reset(way->entered, here) < 0) {
        PyErr_Clear(); /* set in another context, of which this one is a copy */
        PyObject *token = PyContextVar_Set(way->entered, Py_None);
        if (token == NULL) {
            PyErr_Clear();
        }
        Py_XDECREF(token);
    }
    Py_XDECREF(here);
}

/* The end of the request. Safe to call late, or twice. */
int
close_scope(Way *way, Fields *scope)
{
    put(&scope->closed, Py_True);
    put(&scope->parent, Py_None);
    put(&scope->exchange, Py_None);
    put(&scope->factory, way->ended);
    put(&scope->values, NULL); /* who is making one of them now holds the old dictionary */
    return 0;
}

/* Before something that has to be done whatever was raised: as in a `finally`, that is being handled meanwhile, and
 * becomes the context of what is raised then. */
Saved
save_error(void)
{
    Saved saved = {NULL, NULL, NULL, NULL};
    if (PyErr_Occurred()) {
        PyErr_Fetch(&saved.type, &saved.value, &saved.traceback);
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
void
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

/* Whether a step may begin that nobody looks around. */
int
may_pass(Way *way)
{
    return READS(way, pace, gait, way->name.sparse) && READS(way, finder, armed, Py_False) &&
           READS(way, engine, started, Py_True);
}

/* The request begins. */
int
enlist(Way *way, Fields *scope)
{
    if (PyDict_SetItem(way->scopes, (PyObject *)scope, (PyObject *)scope) < 0) {
        return -1;
    }
    long long requests = number(READ(way, tally, requests)) + 1;
    PyObject *count = PyLong_FromLongLong(requests);
    if (count == NULL || WRITE(way, tally, requests, count) < 0) {
        return -1;
    }
    return requests % way->sampled ? 0 : tell(way->passing, way->name.sample, (PyObject *)scope);
}

/* Whether it is too early for the next look: -1 with an error set if the clock cannot tell. */
static int
is_early(Way *way)
{
    int early = 0;
#if PY_VERSION_HEX >= 0x030D0000
    PyTime_t read;
    if (way->usual_clock && PyTime_PerfCounterRaw(&read) == 0) { /* what it says, without calling it */
        PyObject *next = READ(way, pace, next_look);
        if (next != NULL && PyLong_CheckExact(next)) {
            return read < number(next);
        }
        PyErr_Clear();
        Py_XDECREF(next);
        return 0;
    }
#endif
    PyObject *now = PyObject_CallNoArgs(way->clock);
    if (now == NULL) {
        return -1;
    }
    PyObject *next = READ(way, pace, next_look);
    if (next == NULL) {
        PyErr_Clear();
    }
    else if (PyLong_CheckExact(now) && PyLong_CheckExact(next)) {
        early = PyObject_RichCompareBool(now, next, Py_LT) == 1; /* quicker than to make a number of each */
    }
    Py_XDECREF(next);
    Py_DECREF(now);
    return early;
}

/* A step has ended that nobody looked around: `look` if the engine is to be told in any case. What is noted of it is
 * noted in `copy` as well, if that is not NULL. */
int
step_ended(Way *way, Fields *scope, PyObject **copy, int look)
{
    PyObject *looks = READ(way, unseen, looks);
    if (looks == NULL) {
        return -1;
    }
    put(&scope->stepped, looks);
    if (copy != NULL) {
        put(copy, looks);
    }
    Py_DECREF(looks);
    int early = look ? 0 : is_early(way);
    if (early < 0) {
        return -1;
    }
    if (early && READS(way, finder, armed, Py_False) && READS(way, pace, gait, way->name.sparse)) {
        return 0;
    }
    return tell(way->passing, way->name.end, (PyObject *)scope);
}

/* Since it began nobody has looked after a step of it, nor named it: it may be a suspect of the next look. */
static int
note(Way *way, Fields *scope, PyObject *stepped)
{
    PyObject *since = READ(way, unseen, since);
    if (since == NULL) {
        return -1;
    }
    int result = 0;
    if (number(Py_XNewRef(stepped)) >= number(READ(way, unseen, covered)) && PyDict_CheckExact(since) &&
        PyDict_GET_SIZE(since) < way->suspects) {
        result = PyDict_SetItem(since, (PyObject *)scope, Py_None);
    }
    Py_DECREF(since);
    return result;
}

/* The request has ended, whose latest step did as `stepped` says. */
int
retire(Way *way, Fields *scope, PyObject *stepped)
{
    int unsampled = scope->began == way->zero ||
                    (scope->began != NULL && PyLong_CheckExact(scope->began) && number(Py_NewRef(scope->began)) == 0);
    int result = scope->account == Py_None && scope->suspect == Py_None && unsampled
                     ? note(way, scope, stepped)
                     : tell(way->passing, way->name.over, (PyObject *)scope);
    Saved saved = result < 0 ? save_error() : NO_ERROR; /* whatever was raised, it is under way no more */
#if PY_VERSION_HEX >= 0x030D0000
    PyDict_Pop(way->scopes, (PyObject *)scope, NULL);
#else
    if (PyDict_Contains(way->scopes, (PyObject *)scope) == 1) {
        PyDict_DelItem(way->scopes, (PyObject *)scope);
    }
#endif
    PyErr_Clear();
    restore_error(saved);
    return result;
}

/* -- the methods of a way ---------------------------------------------------------------------------------- */

PyDoc_STRVAR(open_doc,
"open(scope, /)\n--\n\n"
"Open and enter a scope for the request of an ASGI scope. None if it is not as simple as most: nothing is done\n"
"then.");

PyDoc_STRVAR(close_doc,
"close(scope, /)\n--\n\n"
"Leave and close a scope that `open` has opened. Safe to call late, or from elsewhere.");

PyDoc_STRVAR(serve_doc,
"serve(awaitable, scope, /)\n--\n\n"
"What to await for the request of `scope`: `awaitable` itself where nobody watches.");

PyDoc_STRVAR(call_doc,
"call(application, environ, start_response, /)\n--\n\n"
"Serve a WSGI request: its body, to be handed to the server. NotImplemented if it is not as simple as most:\n"
"nothing is done then.");

static PyMethodDef way_methods[] = {
    {"open", (PyCFunction)way_open, METH_O, open_doc},
    {"close", (PyCFunction)way_close, METH_O, close_doc},
    {"serve", (PyCFunction)(void (*)(void))way_serve, METH_FASTCALL, serve_doc},
    {"call", (PyCFunction)(void (*)(void))way_call, METH_FASTCALL, call_doc},
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
        {&state->timer, "Timer", &timer_spec},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        *types[i].place = PyType_FromModuleAndSpec(module, types[i].spec, NULL);
        if (*types[i].place == NULL || PyModule_AddObjectRef(module, types[i].name, *types[i].place) < 0) {
            return -1;
        }
    }
    for (size_t i = 0; i < BODIES; i++) {
        state->bodies[i] = PyType_FromModuleAndSpec(module, &body_specs[i], NULL);
        if (state->bodies[i] == NULL) {
            return -1;
        }
    }
    state->silent = PyUnicode_InternFromString("_silent");
    return state->silent == NULL ? -1 : 0;
}

static int
module_traverse(PyObject *module, visitproc visit, void *arg)
{
    State *state = PyModule_GetState(module);
    Py_VISIT(state->fields);
    Py_VISIT(state->drive);
    Py_VISIT(state->way);
    Py_VISIT(state->timer);
    for (size_t i = 0; i < BODIES; i++) {
        Py_VISIT(state->bodies[i]);
    }
    return 0;
}

static int
module_clear(PyObject *module)
{
    State *state = PyModule_GetState(module);
    Py_CLEAR(state->fields);
    Py_CLEAR(state->drive);
    Py_CLEAR(state->way);
    Py_CLEAR(state->timer);
    Py_CLEAR(state->silent);
    for (size_t i = 0; i < BODIES; i++) {
        Py_CLEAR(state->bodies[i]);
    }
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
    .m_doc = "The short way of a request through a middleware. See short.py.",
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

