/* The short way of an ASGI request: StateGuardMiddleware.__call__ of asgi.py and Passing.serve of passing.py, see there
 * and _short.c.
 *
 * Not even the middleware's `__call__` runs for a simple request. Its frame and what that calls took as long as half of
 * what there is to do. */

#include "_short.h"

/* -- opening ----------------------------------------------------------------------------------------------- */

HOT static int
is_text(PyObject *value, PyObject *text)
{
    return value == text || UNLIKELY(PyUnicode_CheckExact(value) && PyUnicode_Compare(value, text) == 0);
}

/* A scope for the request of an ASGI scope, entered. NULL if it is not as simple as most, or with an error set. */
HOT static Fields *
open_for(Way *way, PyObject *asgi)
{
    if (UNLIKELY(!PyDict_CheckExact(asgi) || !may_open(way))) {
        return NULL;
    }
    Fields *scope = open_scope(way);
    if (UNLIKELY(scope == NULL)) {
        return NULL;
    }
    PyObject **known = scope->known;
    int all = way->engine == Py_None ? QUERY : ASKED;
    for (int i = 0; i < all; i++) {
        if (UNLIKELY((known[i] = entry(asgi, way->known[i])) == NULL)) {
            goto none;
        }
    }
    if (UNLIKELY(!(is_text(known[TYPE], way->name.http) || is_text(known[TYPE], way->name.websocket)) ||
                 !PyList_CheckExact(known[HEADERS]) || note_time(way, scope) < 0 ||
                 (scope->here = PyContextVar_Set(way->entered, (PyObject *)scope)) == NULL)) {
        goto none;
    }
    return scope;
none:
    Py_DECREF(scope);
    return NULL;
}

/* -- driving a request ------------------------------------------------------------------------------------------ */

/* What a middleware gives to who calls it, in place of the coroutine that its `__call__` would make: nothing happens
 * before the first step. Where the request is not as simple as most, it makes that coroutine then, and passes
 * everything on to it. It holds, in this order: the way and the middleware, and until it is over the scope of its request, if
 * that is a simple one; the coroutine that it awaits in place; who drives that, which is the driver in Python once looks
 * have become closer or something was thrown in, and the coroutine itself where nobody watches its steps; and the three
 * arguments that the middleware was called with. */
#define HELD 8
#define WAY(drive) ((Way *)(drive)->held[0])
#define DOOR(drive) ((Door *)(drive)->held[1])
#define SCOPE(drive) ((Fields *)(drive)->held[SCOPED])
#define COROUTINE(drive) ((drive)->held[3])
#define DELEGATE(drive) ((drive)->held[4])
#define ARGUMENTS(drive) ((drive)->held + 5)
#define SCOPED 2

typedef struct {
    PyObject_HEAD
    PyObject *held[HELD];
    PyObject *weak;
    long long stepped;
    char state;
    char enlisted;
    char finalized;
} Drive;

enum { NEW, PEEKED, WAITING, STEPPING, OVER }; /* PEEKED: asked for what a coroutine has, before it has begun */

#define QUALNAME "StateGuardMiddleware.__call__"

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *way;
    PyObject *served;
} Door;

HOT static Drive *
drive_new(Door *door, PyObject *const *args)
{
    Way *way = (Way *)door->way;
    PyTypeObject *type = (PyTypeObject *)way->drive_type;
    Drive *drive = (Drive *)way->spare;
    if (drive != NULL) { /* as it was left: see drive_dealloc */
        way->spare = NULL;
        PyObject_Init((PyObject *)drive, type);
        PyObject_GC_Track(drive);
    }
    else if (UNLIKELY((drive = (Drive *)type->tp_alloc(type, 0)) == NULL)) {
        return NULL;
    }
    drive->held[0] = Py_NewRef(way);
    drive->held[1] = Py_NewRef(door);
    drive->held[2] = drive->held[3] = drive->held[4] = NULL;
    for (int i = 0; i < 3; i++) {
        ARGUMENTS(drive)[i] = Py_NewRef(args[i]);
    }
    drive->stepped = -1;
    drive->state = NEW;
    drive->enlisted = 0; /* it has not been finalized: else it was not spared */
    return drive;
}

/* The coroutine that the class of a middleware says, for `n` arguments and those with `names`. */
COLD static PyObject *
long_way(Door *door, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *call = PyObject_GetAttrString((PyObject *)Py_TYPE(door), "__call__");
    if (call == NULL) {
        return NULL;
    }
    Py_ssize_t all = n + (names == NULL ? 0 : PyTuple_GET_SIZE(names));
    PyObject *few[4], **given = all < 4 ? few : PyMem_New(PyObject *, all + 1);
    PyObject *result = NULL;
    if (given == NULL) {
        PyErr_NoMemory();
    }
    else {
        given[0] = (PyObject *)door;
        memcpy(given + 1, args, all * sizeof(PyObject *));
        result = PyObject_Vectorcall(call, given, n + 1, names);
    }
    if (given != few) {
        PyMem_Free(given);
    }
    Py_DECREF(call);
    return result;
}

/* What is called here for a coroutine would have been called in one: out of that, no StopIteration comes. */
COLD static void
no_stop(void)
{
    if (!PyErr_ExceptionMatches(PyExc_StopIteration)) {
        return;
    }
    PyObject *stop = save_error();
    PyErr_SetString(PyExc_RuntimeError, "coroutine raised StopIteration");
    PyObject *error = save_error();
    PyException_SetCause(error, Py_NewRef(stop));
    PyException_SetContext(error, stop);
    raise_again(error);
}

/* Await that in place: 0, or -1 with an error set. It is taken over. */
HOT static int
await_in_place(Drive *self, PyObject *awaitable)
{
    if (UNLIKELY(awaitable != NULL && !PyCoro_CheckExact(awaitable))) {
        Py_SETREF(awaitable, PyObject_CallOneArg(WAY(self)->awaited, awaitable));
    }
    COROUTINE(self) = awaitable;
    if (UNLIKELY(awaitable == NULL)) {
        no_stop();
        return -1;
    }
    return 0;
}

/* Leave it to the coroutine that the class of the middleware says: 0, or -1 with an error set. */
COLD static int
take_long_way(Drive *self)
{
    self->state = STEPPING; /* nothing is to be sent to it by what is called in here */
    if (await_in_place(self, long_way(DOOR(self), ARGUMENTS(self), 3, NULL)) < 0) {
        self->state = OVER;
        return -1;
    }
    DELEGATE(self) = Py_NewRef(COROUTINE(self));
    self->state = PEEKED;
    return 0;
}

/* The request begins: 0, or -1 with an error set. */
HOT static int
begin(Drive *self)
{
    Way *way = WAY(self);
    self->state = STEPPING; /* nothing is to be sent to it by what is called in here */
    Fields *scope = open_for(way, ARGUMENTS(self)[0]);
    if (UNLIKELY(scope == NULL)) {
        if (!PyErr_Occurred()) {
            return take_long_way(self);
        }
        no_stop();
        return -1;
    }
    self->held[SCOPED] = (PyObject *)scope;
    PyObject *served = DOOR(self)->served;
    if (UNLIKELY(served == NULL)) {
        PyErr_SetString(PyExc_RuntimeError, "this middleware has gone");
        return -1;
    }
    Py_INCREF(served);
    int result = await_in_place(self, PyObject_Vectorcall(served, ARGUMENTS(self), 3, NULL));
    Py_DECREF(served);
    if (result == 0 && way->engine != Py_None) {
        self->enlisted = 1;
        result = enlist(way, scope);
    }
    else if (result == 0) {
        DELEGATE(self) = Py_NewRef(COROUTINE(self));
    }
    return result;
}

/* Let go of what it holds until it is over. */
HOT static void
let_go(Drive *self)
{
    for (int i = HELD - 1; i >= SCOPED; i--) {
        Py_CLEAR(self->held[i]);
    }
}

/* It has ended. */
HOT static int
finish(Drive *self)
{
    if (UNLIKELY(self->state == OVER)) {
        return 0;
    }
    self->state = OVER;
    int result = 0;
    Fields *scope = SCOPE(self);
    if (!UNLIKELY(scope == NULL)) {
        result = self->enlisted ? retire(WAY(self), scope, self->stepped) : 0;
        PyObject *saved = UNLIKELY(result < 0) ? save_error() : NULL;
        PyObject *here = scope->here;
        scope->here = NULL;
        leave_scope(WAY(self), scope, here);
        close_scope(WAY(self), scope);
        if (UNLIKELY(result < 0)) {
            restore_error(saved);
        }
    }
    let_go(self);
    return result;
}

/* The same after something was raised, which is kept, unless that is. */
COLD static void
finish_raising(Drive *self)
{
    PyObject *saved = save_error();
    finish(self);
    restore_error(saved);
}

/* Let the driver in Python go on: with `value` sent, or `thrown` thrown in. */
COLD static PySendResult
go_on(Drive *self, PyObject *value, PyObject *thrown, PyObject **result)
{
    *result = NULL;
    SCOPE(self)->stepped = self->stepped;
    PyObject *list = PyList_New(0);
    if (list == NULL || (thrown != NULL && PyList_Append(list, thrown) < 0)) {
        Py_XDECREF(list);
        return PYGEN_ERROR;
    }
    PyObject *arguments[] = {WAY(self)->passing, COROUTINE(self), (PyObject *)SCOPE(self), value, list};
    DELEGATE(self) = PyObject_VectorcallMethod(WAY(self)->name.go_on, arguments, 5, NULL);
    Py_DECREF(list);
    return DELEGATE(self) == NULL ? PYGEN_ERROR : PyIter_Send(DELEGATE(self), Py_None, result);
}

/* A step that nobody looked around has raised, which is kept, unless that is. */
COLD static void
step_raised(Drive *self)
{
    PyObject *saved = save_error();
    step_ended(WAY(self), SCOPE(self), 0);
    restore_error(saved);
}

COLD static PySendResult
not_now(Drive *self)
{
    PyErr_SetString(self->state == OVER ? PyExc_RuntimeError : PyExc_ValueError,
                    self->state == OVER ? "cannot reuse already awaited coroutine" : "coroutine already executing");
    return PYGEN_ERROR;
}

HOT static PySendResult
drive_send(Drive *self, PyObject *value, PyObject **result)
{
    *result = NULL;
    if (UNLIKELY(self->state > WAITING)) {
        return not_now(self);
    }
    PySendResult outcome = PYGEN_ERROR;
    if (self->state == NEW) {
        if (UNLIKELY(value != Py_None)) {
            PyErr_SetString(PyExc_TypeError, "can't send non-None value to a just-started coroutine");
            return outcome;
        }
        if (UNLIKELY(begin(self) < 0)) {
            goto ended;
        }
    }
    self->state = STEPPING;
    if (DELEGATE(self) != NULL) {
        outcome = PyIter_Send(DELEGATE(self), value, result);
    }
    else {
        Way *way = WAY(self);
        Fields *scope = SCOPE(self);
        scope->stepped = way->busy; /* before the gait is asked for: see Passing.serve */
        if (UNLIKELY(!may_pass(way))) {
            outcome = go_on(self, value, NULL, result);
        }
        else {
            outcome = PyIter_Send(COROUTINE(self), value, result);
            self->stepped = READ(way, looks);
            if (UNLIKELY(outcome == PYGEN_ERROR)) {
                step_raised(self);
            }
            else if (UNLIKELY(step_ended(way, scope, 0) < 0)) {
                Py_CLEAR(*result);
                outcome = PYGEN_ERROR;
            }
        }
    }
    if (outcome == PYGEN_NEXT) {
        self->state = WAITING;
        return outcome;
    }
ended:
    if (UNLIKELY(outcome == PYGEN_ERROR)) {
        finish_raising(self);
    }
    else if (UNLIKELY(finish(self) < 0)) {
        Py_CLEAR(*result);
        outcome = PYGEN_ERROR;
    }
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

HOT static PyObject *
drive_next(Drive *self)
{
    PyObject *result;
    PySendResult outcome = drive_send(self, Py_None, &result);
    if (outcome == PYGEN_RETURN && result == Py_None) { /* as most do: said without an exception, as iterators may */
        Py_DECREF(result);
        return NULL;
    }
    return said(outcome, result);
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
    PyObject *error = thrown_in(args, n);
    if (error == NULL) {
        return NULL;
    }
    if (self->state > WAITING) {
        not_now(self);
        Py_DECREF(error);
        return NULL;
    }
    PyObject *result = NULL;
    PySendResult outcome = PYGEN_ERROR;
    if (self->state == NEW) { /* what has not begun never will */
        self->state = OVER;
        raise_again(error);
#if PY_VERSION_HEX < 0x030C0000
        no_stop(); /* as it was there */
#endif
        return NULL;
    }
    self->state = STEPPING;
    if (DELEGATE(self) == NULL) {
        outcome = go_on(self, Py_None, error, &result);
        Py_DECREF(error);
    }
    else if (SCOPE(self) != NULL && PyErr_GivenExceptionMatches(error, PyExc_GeneratorExit)) {
        /* What is awaited in place is closed, and then it goes on its way. */
        PyObject *closed = PyObject_CallMethodNoArgs(DELEGATE(self), WAY(self)->name.close);
        if (closed != NULL) {
            raise_again(Py_NewRef(error));
        }
        Py_XDECREF(closed);
        Py_DECREF(error);
    }
    else {
        PyObject *method = PyObject_GetAttrString(DELEGATE(self), "throw");
        result = method == NULL ? NULL : PyObject_CallOneArg(method, error);
        Py_XDECREF(method);
        Py_DECREF(error);
        outcome = result == NULL ? PYGEN_ERROR : PYGEN_NEXT; /* a StopIteration says what was returned */
    }
    if (outcome == PYGEN_NEXT) {
        self->state = WAITING;
        return result;
    }
    if (outcome == PYGEN_ERROR) {
        finish_raising(self);
    }
    else if (finish(self) < 0) {
        Py_CLEAR(result);
        outcome = PYGEN_ERROR;
    }
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
        PyErr_SetString(PyExc_RuntimeError, "coroutine ignored GeneratorExit");
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
    for (int i = 0; i < HELD; i++) {
        Py_VISIT(self->held[i]);
    }
    return 0;
}

static int
drive_clear(Drive *self)
{
    self->state = OVER; /* a finalizer may still get at it while its cycle is taken apart */
    let_go(self);
    Py_CLEAR(self->held[1]);
    Py_CLEAR(self->held[0]);
    return 0;
}

/* Let go of while it waits: closed, as a coroutine is, and in any case not among those under way any more. Or before it
 * has begun: then somebody has forgotten to await it. */
static void
drive_finalize(Drive *self)
{
    self->finalized = 1;
    PyObject *saved = save_error();
    int failed = 0;
    if (self->state == NEW) {
        failed = PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "coroutine '%s' was never awaited", QUALNAME) < 0;
    }
    else if (self->state == WAITING && SCOPE(self) != NULL) {
        PyObject *closed = drive_close(self, NULL);
        failed = closed == NULL;
        Py_XDECREF(closed);
    }
    if (failed) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    if (self->state == WAITING && finish(self) < 0) { /* it went on waiting */
        PyErr_WriteUnraisable((PyObject *)self);
    }
    restore_error(saved);
}

HOT static void
drive_dealloc(Drive *self)
{
    PyTypeObject *type = Py_TYPE(self);
    if (UNLIKELY(self->state != OVER) && PyObject_CallFinalizerFromDealloc((PyObject *)self) < 0) {
        return;
    }
    PyObject_GC_UnTrack(self);
    if (UNLIKELY(self->weak != NULL)) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    let_go(self);
    Way *way = WAY(self);
    Py_XDECREF(self->held[1]);
    if (way != NULL && way->spare == NULL && !self->finalized) {
        way->spare = (PyObject *)self; /* for the next request: one is all that a saturated server needs at a time */
    }
    else {
        type->tp_free(self);
    }
    Py_XDECREF(way);
    Py_DECREF(type);
}

/* Who asks what a task waits for goes from coroutine to coroutine: this one stands for the one that it drives. Asked
 * before it has begun, it is the one that the class of the middleware says, which has a frame. */
static PyObject *
of_coroutine(Drive *self, void *name)
{
    if (self->state == NEW && take_long_way(self) < 0) {
        return NULL;
    }
    if (COROUTINE(self) != NULL) {
        PyObject *coroutine = Py_NewRef(COROUTINE(self));
        PyObject *value = PyObject_GetAttrString(coroutine, (const char *)name);
        Py_DECREF(coroutine);
        return value;
    }
    if (strcmp((const char *)name, "cr_code") == 0 && DOOR(self) != NULL) {
        PyObject *call = PyObject_GetAttrString((PyObject *)Py_TYPE(DOOR(self)), "__call__");
        PyObject *code = call == NULL ? NULL : PyObject_GetAttrString(call, "__code__");
        Py_XDECREF(call);
        return code;
    }
    int is_flag = strcmp((const char *)name, "cr_running") == 0 || strcmp((const char *)name, "cr_suspended") == 0;
    return Py_NewRef(is_flag ? Py_False : Py_None);
}

static PyObject *
drive_repr(Drive *self)
{
    return PyUnicode_FromFormat("<coroutine object %s at %p>", QUALNAME, self);
}

HOT static PyObject *
drive_await(Drive *self)
{
    if (UNLIKELY(self->state == WAITING)) {
        PyErr_SetString(PyExc_RuntimeError, "coroutine is being awaited already");
        return NULL;
    }
    return Py_NewRef(self);
}

static PyObject *
drive_name(Drive *Py_UNUSED(self), void *name)
{
    return PyUnicode_FromString((const char *)name);
}

/* Whether each of its steps is seen, or noted, or there was none yet. */
static PyObject *
drive_guarded(Drive *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->enlisted || self->state == NEW);
}

/* It is given out in place of a coroutine: to who asks, it is one. */
static PyObject *
drive_class(Drive *Py_UNUSED(self), void *Py_UNUSED(closure))
{
    return Py_NewRef(&PyCoro_Type);
}

static PyGetSetDef drive_attributes[] = {
    {"__class__", (getter)drive_class, NULL, NULL, NULL},
    {"__name__", (getter)drive_name, NULL, NULL, (void *)"__call__"},
    {"__qualname__", (getter)drive_name, NULL, NULL, (void *)QUALNAME},
    {"guarded", (getter)drive_guarded, NULL, NULL, NULL},
    {"cr_await", (getter)of_coroutine, NULL, NULL, (void *)"cr_await"},
    {"cr_code", (getter)of_coroutine, NULL, NULL, (void *)"cr_code"},
    {"cr_frame", (getter)of_coroutine, NULL, NULL, (void *)"cr_frame"},
    {"cr_origin", (getter)of_coroutine, NULL, NULL, (void *)"cr_origin"},
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

static PyMemberDef drive_members[] = {
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Drive, weak), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot drive_slots[] = {
    {Py_tp_doc, "What a middleware gives to who calls it, in place of a coroutine."},
    {Py_am_await, drive_await},
    {Py_am_send, drive_send},
    {Py_tp_iter, PyObject_SelfIter}, /* a coroutine has none, but may be yielded from where the interpreter knows it */
    {Py_tp_repr, drive_repr},
    {Py_tp_members, drive_members},
    {Py_tp_iternext, drive_next},
    {Py_tp_methods, drive_methods},
    {Py_tp_getset, drive_attributes},
    {Py_tp_traverse, drive_traverse},
    {Py_tp_clear, drive_clear},
    {Py_tp_finalize, drive_finalize},
    {Py_tp_dealloc, drive_dealloc},
    {0, NULL},
};

PyType_Spec drive_spec = {
    .name = "stateguard._short.Drive",
    .basicsize = sizeof(Drive),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = drive_slots,
};

/* -- the middleware --------------------------------------------------------------------------------------------- */

/* Which of the three arguments of an ASGI application has that name; -1: none. */
static int
position_of(Way *way, PyObject *name)
{
    return is_text(name, way->name.asgi) ? 0 : is_text(name, way->name.receive) ? 1 : is_text(name, way->name.send) ? 2 : -1;
}

/* The same, with some or all of the arguments given by name. */
COLD static PyObject *
called_by_name(Door *self, PyObject *const *args, Py_ssize_t n, PyObject *names)
{
    PyObject *given[3] = {NULL, NULL, NULL};
    for (Py_ssize_t i = 0; i < 3; i++) {
        Py_ssize_t position = i < n ? i : position_of((Way *)self->way, PyTuple_GET_ITEM(names, i - n));
        if (position < 0 || given[position] != NULL) {
            return long_way(self, args, n, names);
        }
        given[position] = args[i];
    }
    return (PyObject *)drive_new(self, given);
}

HOT static PyObject *
door_vectorcall(Door *self, PyObject *const *args, size_t flags, PyObject *names)
{
    Py_ssize_t n = PyVectorcall_NARGS(flags), named = names == NULL ? 0 : PyTuple_GET_SIZE(names);
    if (UNLIKELY(self->way == NULL || n + named != 3)) {
        return long_way(self, args, n, names);
    }
    return named == 0 ? (PyObject *)drive_new(self, args) : called_by_name(self, args, n, names);
}
static PyObject *
door_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    Door *self = (Door *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->call = (vectorcallfunc)door_vectorcall;
    }
    return (PyObject *)self;
}

static int
door_traverse(Door *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->way);
    Py_VISIT(self->served);
    return 0;
}

static int
door_clear(Door *self)
{
    Py_CLEAR(self->way);
    Py_CLEAR(self->served);
    return 0;
}

static void
door_dealloc(Door *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    door_clear(self);
    type->tp_free(self);
    Py_DECREF(type);
}

static PyObject *
way_of(Door *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->way == NULL ? Py_None : self->way);
}

static int
set_way(Door *self, PyObject *way, void *Py_UNUSED(closure))
{
    PyObject *served = NULL;
    if (way != NULL && way != Py_None) {
        if (!is_way(way)) {
            PyErr_SetString(PyExc_TypeError, "a middleware's way is a Way, or None");
            return -1;
        }
        if ((served = PyObject_GetAttrString((PyObject *)self, "_served")) == NULL) {
            return -1;
        }
    }
    put(&self->served, served);
    put(&self->way, served == NULL ? NULL : way);
    Py_XDECREF(served);
    return 0;
}

/* As object.__getstate__() says it, which refuses what it cannot know. A copy goes the long way. */
static PyObject *
door_getstate(Door *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *plain = PyObject_GetAttrString((PyObject *)self, "__dict__"), *slots = PyDict_New();
    PyObject *copying = PyImport_ImportModule("copyreg");
    PyObject *names = copying == NULL ? NULL : PyObject_CallMethod(copying, "_slotnames", "O", Py_TYPE(self));
    Py_XDECREF(copying);
    for (Py_ssize_t i = 0; slots != NULL && names != NULL && PyList_Check(names) && i < PyList_GET_SIZE(names); i++) {
        PyObject *name = PyList_GET_ITEM(names, i), *value = PyObject_GetAttr((PyObject *)self, name);
        if (value == NULL) {
            PyErr_Clear(); /* nothing in it */
        }
        else if (PyDict_SetItem(slots, name, value) < 0) {
            Py_CLEAR(slots);
        }
        Py_XDECREF(value);
    }
    PyObject *state = NULL;
    if (plain != NULL && slots != NULL && names != NULL) {
        state = PyDict_GET_SIZE(slots) == 0 ? Py_NewRef(plain) : PyTuple_Pack(2, plain, slots);
    }
    Py_XDECREF(plain);
    Py_XDECREF(slots);
    Py_XDECREF(names);
    return state;
}

static PyGetSetDef door_attributes[] = {
    {"_way", (getter)way_of, (setter)set_way, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef door_methods[] = {
    {"__getstate__", (PyCFunction)door_getstate, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot door_slots[] = {
    {Py_tp_doc, "What of a middleware is called."},
    {Py_tp_new, door_new},
    {Py_tp_getset, door_attributes},
    {Py_tp_methods, door_methods},
    {Py_tp_traverse, door_traverse},
    {Py_tp_clear, door_clear},
    {Py_tp_dealloc, door_dealloc},
    {0, NULL},
};

PyType_Spec door_spec = {
    .name = "stateguard._short.Door",
    .basicsize = sizeof(Door),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .slots = door_slots,
};

/* `through`, see _short.c. To who asks for it, the `__call__` of the class stays what it is, a coroutine function: by
 * that, servers know an ASGI application. */
PyObject *
door_through(PyObject *module, PyObject *object)
{
    State *state = PyModule_GetState(module);
    if (!PyType_Check(object) || !PyType_IsSubtype((PyTypeObject *)object, (PyTypeObject *)state->door) ||
        object == state->door) {
        PyErr_SetString(PyExc_TypeError, "through() takes a kind of Door");
        return NULL;
    }
    PyTypeObject *type = (PyTypeObject *)object;
    type->tp_call = PyVectorcall_Call;
    type->tp_vectorcall_offset = offsetof(Door, call);
#if PY_VERSION_HEX >= 0x030C0000
    type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL; /* taken away when another `__call__` is put there */
#endif
    PyType_Modified(type);
    Py_RETURN_NONE;
}
