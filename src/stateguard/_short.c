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

HOT static void
fields_dealloc(Fields *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, fields_dealloc) /* one may be the parent of another, and so on */
    PyObject **field = &self->FIRST_FIELD;
    for (size_t i = 0; i < FIELDS; i++) {
        Py_XDECREF(field[i]); /* nobody can get at it any more */
    }
    type->tp_free(self);
    Py_DECREF(type);
    Py_TRASHCAN_END
}

#define MEMBER(name, type, field) {name, type, offsetof(Fields, field), 0, NULL}

static PyMemberDef fields_members[] = {
    MEMBER("account", T_OBJECT, account),     MEMBER("began", T_LONGLONG, began),
    MEMBER("closed", T_BOOL, closed),         MEMBER("left", T_BOOL, left),
    MEMBER("parent", T_OBJECT, parent),       MEMBER("previous", T_OBJECT, previous),
    MEMBER("stepped", T_LONGLONG, stepped),   MEMBER("suspect", T_OBJECT, suspect),
    MEMBER("var_token", T_OBJECT_EX, var_token),
    {NULL, 0, 0, 0, NULL},
};

/* -- what is made for who asks for it: of most requests, nobody does -- */

/* What the field holds: what has been `made` for it, unless that is there already. Making something may start the
 * collector, and that anything. */
static PyObject *
once_made(PyObject **field, PyObject *made)
{
    if (made == NULL) {
        return NULL;
    }
    if (*field == NULL) {
        *field = made;
    }
    else {
        Py_DECREF(made);
    }
    return Py_NewRef(*field);
}

static PyObject *
values_of(Fields *self, void *Py_UNUSED(closure))
{
    return self->values != NULL ? Py_NewRef(self->values) : once_made(&self->values, PyDict_New());
}

/* What it holds by itself: what it was given, or what goes for each that a Way has opened. */
static PyObject *
held(PyObject *given, PyObject *usual, const char *name)
{
    PyObject *found = given != NULL ? given : usual;
    if (found == NULL) {
        PyErr_SetString(PyExc_AttributeError, name);
    }
    return Py_XNewRef(found);
}

static PyObject *
carrier_of(Fields *self, void *Py_UNUSED(closure))
{
    return held(self->carrier, self->way == NULL ? NULL : ((Way *)self->way)->name.contextvar, "carrier");
}

static PyObject *
owner_of(Fields *self, void *Py_UNUSED(closure))
{
    return held(self->owner, self->way == NULL ? NULL : ((Way *)self->way)->guard, "owner");
}

static PyObject *
exchange_of(Fields *self, void *Py_UNUSED(closure))
{
    return held(self->exchange, self->closed || self->known[HEADERS] == NULL ? Py_None : self->known[HEADERS], NULL);
}

static PyObject *
factory_of(Fields *self, void *Py_UNUSED(closure))
{
    if (self->factory == NULL && self->way != NULL && !self->closed) {
        Way *way = (Way *)self->way;
        return once_made(&self->factory, PyObject_GetAttr(way->guard, way->name.session_factory));
    }
    return held(self->factory, self->way == NULL ? NULL : ((Way *)self->way)->ended, "_factory");
}

static PyObject *
request_of(Fields *self, void *Py_UNUSED(closure))
{
    if (self->request == NULL && self->way != NULL && self->known[TYPE] != NULL) {
        Way *way = (Way *)self->way;
        PyObject **known = self->known;
        PyObject *started = time_of(self);
        if (started == NULL) {
            return NULL;
        }
        PyObject *made = PyTuple_Pack(7, way->identify, way->guard, known[TYPE], known[METHOD], known[PATH],
                                      known[HEADERS], started);
        Py_DECREF(started);
        return once_made(&self->request, made);
    }
    return held(self->request, NULL, "_request");
}

static PyObject *
origin_of(Fields *self, void *Py_UNUSED(closure))
{
    PyObject **known = self->known;
    if (self->origin == NULL && self->way != NULL && known[CLIENT] != NULL) {
        return once_made(&self->origin, PyTuple_Pack(4, known[QUERY], known[HEADERS], known[CLIENT], known[PATH]));
    }
    return held(self->origin, NULL, "origin");
}

static int
set_field(Fields *self, PyObject *value, void *place)
{
    put((PyObject **)((char *)self + (size_t)place), value);
    return 0;
}

#define MADE(name, field) {name, (getter)field##_of, (setter)set_field, NULL, (void *)offsetof(Fields, field)}

static PyGetSetDef fields_attributes[] = {
    MADE("_factory", factory),   MADE("_request", request), MADE("carrier", carrier),
    MADE("exchange", exchange),  MADE("origin", origin),    MADE("owner", owner),
    MADE("values", values),
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

/* -- numbers that others set ------------------------------------------------------------------------------- */

#define NUMBER(name, index) {name, T_LONGLONG, offsetof(Numbers, number[index]), 0, NULL}

static PyMemberDef pace_numbers[] = {NUMBER("next_look", 0), {NULL, 0, 0, 0, NULL}};
static PyMemberDef tally_numbers[] = {NUMBER("requests", 0), {NULL, 0, 0, 0, NULL}};
static PyMemberDef unseen_numbers[] = {NUMBER("covered", 0), NUMBER("looks", 1), {NULL, 0, 0, 0, NULL}};

#define NUMBERS_SPEC(slots_of, title, members)                                                                \
    static PyType_Slot slots_of[] = {{Py_tp_members, members}, {0, NULL}};                                    \
    static PyType_Spec slots_of##_spec = {                                                                    \
        .name = "stateguard._short." title, .basicsize = sizeof(Numbers),                                     \
        .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, .slots = slots_of,                                 \
    };

NUMBERS_SPEC(pace_slots, "PaceNumbers", pace_numbers)
NUMBERS_SPEC(tally_slots, "TallyNumbers", tally_numbers)
NUMBERS_SPEC(unseen_slots, "UnseenNumbers", unseen_numbers)

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
    if (self->spare != NULL) {
        PyObject_GC_Del(self->spare);
    }
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
    Py_CLEAR(self->nothing);
    type->tp_free(self);
    Py_DECREF(type);
}

int
is_way(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)way_dealloc;
}

/* Where an object keeps what has that name, of a kind of member. NULL with an error set if its class has none. */
static void *
cell_of(PyObject *object, PyObject *name, int kind)
{
    void *cell = NULL;
    PyObject *slot = PyObject_GetAttr((PyObject *)Py_TYPE(object), name);
    if (slot != NULL && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
        if (member->type == kind && PyObject_TypeCheck(object, ((PyDescrObject *)slot)->d_type)) {
            cell = (char *)object + member->offset;
        }
    }
    Py_XDECREF(slot);
    if (cell == NULL && !PyErr_Occurred()) {
        PyErr_Format(PyExc_TypeError, "%.100s keeps %R elsewhere", Py_TYPE(object)->tp_name, name);
    }
    return cell;
}

/* Whether it is the interpreter's own function of the module `time`, not what somebody has put in its place. */
static int
is_builtin(PyObject *clock, const char *name)
{
    PyObject *module = PyImport_ImportModule("time");
    int same = module != NULL && PyCFunction_CheckExact(clock) && PyCFunction_GET_SELF(clock) == module &&
               strcmp(((PyCFunctionObject *)clock)->m_ml->ml_name, name) == 0;
    PyErr_Clear();
    Py_XDECREF(module);
    return same;
}

/* Whether it says what the system says: somebody may have replaced what a function of the interpreter's runs. */
static int
is_right(PyObject *clock)
{
    struct timespec now;
    PyObject *read = PyObject_CallNoArgs(clock);
    double said = read == NULL ? -1 : PyFloat_AsDouble(read);
    Py_XDECREF(read);
    PyErr_Clear();
    return timespec_get(&now, TIME_UTC) && said > (double)now.tv_sec - 2 && said < (double)now.tv_sec + 2;
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
    self->usual_clock = is_builtin(self->clock, "perf_counter_ns");
    PyObject *wall = PyDict_GetItem(self->clocks, self->name.time);
    self->wall = wall != NULL && is_builtin(wall, "time") && is_right(wall) ? PyCFunction_GET_FUNCTION(wall) : NULL;
    self->busy = PyLong_AsLongLong(self->running);
    self->nothing = PyTuple_New(0);
    PyObject *known[ASKED] = {self->name.type, self->name.headers, self->name.method, self->name.path,
                              self->name.query_string, self->name.client};
    memcpy(self->known, known, sizeof(known));
    if (self->nothing == NULL || PyErr_Occurred()) {
        goto failed;
    }
#define FIND_AS(kind, holder, field)                                              \
    if ((self->cell.field = cell_of(self->holder, self->name.field, kind)) == NULL) { \
        goto failed;                                                              \
    }
#define FIND(holder, field) FIND_AS(T_OBJECT_EX, holder, field)
#define FIND_NUMBER(holder, field) FIND_AS(T_LONGLONG, holder, field)
    FIND(by_thread, used)
    FIND(guard, mode)
    if (self->engine != Py_None) {
        CELLS(FIND)
        NUMBERS(FIND_NUMBER)
    }
#undef FIND
#undef FIND_NUMBER
#undef FIND_AS
    return (PyObject *)self;
failed:
    Py_DECREF(self);
    return NULL;
}

/* -- what both ways do ------------------------------------------------------------------------------------- */

/* What a context variable holds; NULL, and no error, if that is None. Borrowed: the context keeps it. */
HOT PyObject *
in_context(PyObject *variable)
{
    PyObject *value;
    if (UNLIKELY(PyContextVar_Get(variable, NULL, &value) < 0)) {
        PyErr_Clear();
        return NULL;
    }
    Py_XDECREF(value);
    return value == Py_None ? NULL : value;
}

int
tell(PyObject *object, PyObject *name, PyObject *argument)
{
    PyObject *answer = PyObject_CallMethodOneArg(object, name, argument);
    Py_XDECREF(answer);
    return answer == NULL ? -1 : 0;
}

/* Whether a request that comes now may be as simple as most, as far as that can be known without looking at it. */
HOT int
may_open(Way *way)
{
    if (way->engine != Py_None) {
        if (UNLIKELY(READ(way, open) != Py_True || READ(way, gait) != way->name.sparse)) {
            return 0;
        }
        PyObject *inherited = in_context(way->current);
        if (UNLIKELY(inherited != NULL) && !attribute_is(inherited, way->name.active, Py_False)) {
            return 0;
        }
    }
    return in_context(way->entered) == NULL && READ(way, used) == Py_False && READ(way, mode) == way->mode;
}

/* A scope, lacking what says which request it is of. NULL with an error set. */
HOT Fields *
open_scope(Way *way)
{
    PyTypeObject *type = (PyTypeObject *)way->scope;
    Fields *scope = (Fields *)type->tp_alloc(type, 0);
    if (scope != NULL) {
        scope->way = Py_NewRef(way);
        scope->stepped = -1;
    }
    return scope;
}

/* The variable was set in another context, of which this one is a copy. */
COLD static void
leave_elsewhere(Way *way)
{
    PyErr_Clear();
    PyObject *token = PyContextVar_Set(way->entered, Py_None);
    if (token == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(token);
}

/* Give back what was current before the scope was entered with the token `here`, which is taken over. */
HOT void
leave_scope(Way *way, Fields *scope, PyObject *here)
{
    if (UNLIKELY(in_context(way->entered) != (PyObject *)scope)) {
        scope->left = 1; /* out of order, or from another context */
    }
    else if (UNLIKELY(here == NULL || PyContextVar_Reset(way->entered, here) < 0)) {
        leave_elsewhere(way);
    }
    Py_XDECREF(here);
}

/* The same by a clock of somebody's own. */
COLD static int
ask_clock(Fields *scope, PyObject *clock)
{
    Py_INCREF(clock);
    scope->known[STARTED] = PyObject_CallNoArgs(clock);
    Py_DECREF(clock);
    return scope->known[STARTED] == NULL ? -1 : 0;
}

/* When a request begins: by the clock that is in the module now, which tests may have put there, or whose function they
 * may have replaced. 0, or -1 with an error set. */
HOT int
note_time(Way *way, Fields *scope)
{
    PyObject *clock = PyDict_GetItemWithError(way->clocks, way->name.time);
    if (UNLIKELY(clock == NULL)) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_RuntimeError, "there is no clock");
        }
        return -1;
    }
    struct timespec now;
    if (UNLIKELY(!PyCFunction_CheckExact(clock) || PyCFunction_GET_FUNCTION(clock) != way->wall ||
                 !timespec_get(&now, TIME_UTC))) {
        return ask_clock(scope, clock);
    }
    scope->started = (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
    return 0;
}

PyObject *
time_of(Fields *scope)
{
    return scope->known[STARTED] != NULL ? Py_NewRef(scope->known[STARTED]) : PyFloat_FromDouble(scope->started);
}

/* The end of the request. Safe to call late, or twice. */
HOT int
close_scope(Way *Py_UNUSED(way), Fields *scope)
{
    scope->closed = 1;
    Py_CLEAR(scope->parent);
    Py_CLEAR(scope->exchange);
    Py_CLEAR(scope->factory);
    Py_CLEAR(scope->values); /* who is making one of them now holds the old dictionary */
    return 0;
}

COLD PyObject *
save_error(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type, *error, *traceback;
    PyErr_Fetch(&type, &error, &traceback);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &error, &traceback);
    if (traceback != NULL) {
        PyException_SetTraceback(error, traceback);
    }
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return error;
#endif
}

COLD void
raise_again(PyObject *error)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(error);
#else
    PyErr_Restore(Py_NewRef(Py_TYPE(error)), error, PyException_GetTraceback(error));
#endif
}

#define LONGEST 1000 /* chain of contexts: somebody may have made a circle */

COLD void
restore_error(PyObject *saved)
{
    if (saved == NULL) {
        return;
    }
    PyObject *raised = save_error();
    if (raised == NULL) {
        raise_again(saved);
        return;
    }
    /* As if it had been raised in a `finally`: of what it has for a context already, the first one was. What it is one of
     * itself is cut off there. */
    PyObject *later = saved, *cause;
    for (int i = 0; i < LONGEST && (cause = PyException_GetContext(later)) != NULL; i++) {
        Py_DECREF(cause); /* the other one keeps it */
        if (cause == raised) {
            PyException_SetContext(later, NULL);
            break;
        }
        later = cause;
    }
    PyObject *first = raised, *before = NULL;
    for (int i = 0; i < LONGEST && first != saved && (before = PyException_GetContext(first)) != NULL; i++) {
        Py_DECREF(before); /* the other one keeps it */
        first = before;
    }
    if (first == saved || before != NULL) {
        Py_DECREF(saved);
    }
    else {
        PyException_SetContext(first, saved);
    }
    raise_again(raised);
}

/* Whether a step may begin that nobody looks around. */
HOT int
may_pass(Way *way)
{
    return READ(way, gait) == way->name.sparse && READ(way, armed) == Py_False && READ(way, started) == Py_True;
}

/* The request begins. */
HOT int
enlist(Way *way, Fields *scope)
{
    if (UNLIKELY(PyDict_SetItem(way->scopes, (PyObject *)scope, (PyObject *)scope) < 0)) {
        return -1;
    }
    return !UNLIKELY(++READ(way, requests) % way->sampled == 0) ? 0 : tell(way->passing, way->name.sample, (PyObject *)scope);
}

/* Whether it is too early for the next look: -1 with an error set if the clock cannot tell. */
HOT static int
is_early(Way *way)
{
#ifdef __linux__
    struct timespec now;
    if (way->usual_clock && clock_gettime(CLOCK_MONOTONIC, &now) == 0) { /* what it says, without calling it */
        return now.tv_sec * 1000000000LL + now.tv_nsec < READ(way, next_look);
    }
#endif
    PyObject *now_ns = PyObject_CallNoArgs(way->clock);
    long long read = now_ns == NULL ? -1 : PyLong_AsLongLong(now_ns);
    Py_XDECREF(now_ns);
    return read == -1 && PyErr_Occurred() ? -1 : read < READ(way, next_look);
}

/* A step has ended that nobody looked around: `look` if the engine is to be told in any case. */
HOT int
step_ended(Way *way, Fields *scope, int look)
{
    scope->stepped = READ(way, looks);
    int early = look ? 0 : is_early(way);
    if (UNLIKELY(early < 0)) {
        return -1;
    }
    if (UNLIKELY(!early || READ(way, armed) != Py_False || READ(way, gait) != way->name.sparse)) {
        return tell(way->passing, way->name.end, (PyObject *)scope);
    }
    return 0;
}

/* Since it began nobody has looked after a step of it, nor named it: it may be a suspect of the next look. */
HOT static int
note(Way *way, Fields *scope, long long stepped)
{
    PyObject *since = READ(way, since);
    if (stepped < READ(way, covered) || since == NULL || !PyDict_CheckExact(since) ||
        PyDict_GET_SIZE(since) >= way->suspects) {
        return 0;
    }
    Py_INCREF(since); /* what is put into it may start the collector, and that anything */
    int result = PyDict_SetItem(since, (PyObject *)scope, Py_None);
    Py_DECREF(since);
    return result;
}

/* The request has ended, whose latest step did as `stepped` says. */
HOT int
retire(Way *way, Fields *scope, long long stepped)
{
    int result = is_none(scope->account) && is_none(scope->suspect) && scope->began == 0
                     ? note(way, scope, stepped)
                     : tell(way->passing, way->name.over, (PyObject *)scope);
    PyObject *saved = UNLIKELY(result < 0) ? save_error() : NULL; /* whatever was raised, it is under way no more */
    if (UNLIKELY(PyDict_DelItem(way->scopes, (PyObject *)scope) < 0)) { /* nobody is told of one twice */
        PyErr_Clear();
    }
    if (UNLIKELY(result < 0)) {
        restore_error(saved);
    }
    return result;
}

/* -- the methods of a way ---------------------------------------------------------------------------------- */

PyDoc_STRVAR(call_doc,
"call(application, environ, start_response, /)\n--\n\n"
"Serve a WSGI request: its body, to be handed to the server. NotImplemented if it is not as simple as most:\n"
"nothing is done then.");

static PyMethodDef way_methods[] = {
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

PyDoc_STRVAR(through_doc,
"through(type, /)\n--\n\n"
"Let calls of the objects of `type`, a kind of Door, go through C. What its `__call__` says, a coroutine function\n"
"of an ASGI application's three arguments, is for those that are not as simple as most; who puts another one in\n"
"its place is obeyed.");

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
        {&state->door, "Door", &door_spec},
        {&state->drive, "Drive", &drive_spec},
        {&state->way, "Way", &way_spec},
        {&state->timer, "Timer", &timer_spec},
        {NULL, "PaceNumbers", &pace_slots_spec},
        {NULL, "TallyNumbers", &tally_slots_spec},
        {NULL, "UnseenNumbers", &unseen_slots_spec},
    };
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, types[i].spec, NULL);
        int result = type == NULL ? -1 : PyModule_AddObjectRef(module, types[i].name, type);
        if (types[i].place == NULL) {
            Py_XDECREF(type);
        }
        else {
            *types[i].place = type;
        }
        if (result < 0) {
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
    Py_VISIT(state->door);
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
    Py_CLEAR(state->door);
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

static PyMethodDef functions[] = {
    {"through", door_through, METH_O, through_doc},
    {NULL, NULL, 0, NULL},
};

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
    .m_methods = functions,
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

