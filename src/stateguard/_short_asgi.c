/* The short way of an ASGI request: StateGuardMiddleware.__call__ of asgi.py and Passing.serve of passing.py, see there
 * and _short.c. */

#include "_short.h"

/* -- opening and closing ----------------------------------------------------------------------------------- */

static int
is_text(PyObject *value, PyObject *text)
{
    return value == text || (PyUnicode_CheckExact(value) && PyUnicode_Compare(value, text) == 0);
}

PyObject *
way_open(Way *self, PyObject *asgi)
{
    if (!PyDict_CheckExact(asgi) || !may_open(self)) {
        Py_RETURN_NONE;
    }
    PyObject *kind = NULL, *headers = NULL, *method = NULL, *path = NULL, *query = NULL, *client = NULL, *now = NULL;
    PyObject *request = NULL, *origin = NULL, *opened = NULL;
    Fields *scope = NULL;
    if ((kind = entry(asgi, self->name.type)) == NULL || (headers = entry(asgi, self->name.headers)) == NULL) {
        goto done;
    }
    if (!(is_text(kind, self->name.http) || is_text(kind, self->name.websocket)) || !PyList_CheckExact(headers)) {
        opened = Py_NewRef(Py_None);
        goto done;
    }
    if ((method = entry(asgi, self->name.method)) == NULL || (path = entry(asgi, self->name.path)) == NULL ||
        (now = time_of(self)) == NULL) {
        goto done;
    }
    request = PyTuple_Pack(7, self->identify, self->guard, kind, method, path, headers, now);
    if (request == NULL) {
        goto done;
    }
    if (self->engine != Py_None) {
        if ((query = entry(asgi, self->name.query_string)) == NULL ||
            (client = entry(asgi, self->name.client)) == NULL ||
            (origin = PyTuple_Pack(4, query, headers, client, path)) == NULL) {
            goto done;
        }
    }
    scope = open_scope(self, request, headers, origin);
    if (scope == NULL) {
        goto done;
    }
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
    Py_XDECREF(request);
    Py_XDECREF(origin);
    Py_XDECREF(scope);
    return opened;
}

PyObject *
way_close(Way *self, PyObject *object)
{
    if (Py_TYPE(object) != (PyTypeObject *)self->scope) {
        PyErr_SetString(PyExc_TypeError, "close() takes what open() has returned");
        return NULL;
    }
    Fields *scope = (Fields *)object;
    PyObject *here = scope->here;
    scope->here = NULL;
    leave_scope(self, scope, here);
    if (close_scope(self, scope) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* -- driving a request that is let pass ------------------------------------------------------------------------ */

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

PyObject *
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

static int
begin(Drive *self)
{
    self->state = STEPPING; /* it is not to be sent anything by what is called in here */
    return enlist(self->way, self->scope);
}

/* The request has ended. */
static int
finish(Drive *self)
{
    if (self->state == OVER) {
        return 0;
    }
    int begun = self->state != NEW;
    self->state = OVER;
    Py_CLEAR(self->delegate);
    return begun ? retire(self->way, self->scope, self->stepped) : 0;
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
            if (step_ended(self->way, self->scope, &self->stepped, 0) < 0) {
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

PyType_Spec drive_spec = {
    .name = "stateguard._short.Drive",
    .basicsize = sizeof(Drive),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = drive_slots,
};

