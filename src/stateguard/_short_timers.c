/* What stands for call_later() and call_at() of an event loop: see _noting_later in attribution/asyncio_tasks.py, which
 * notes the timers of the application. Servers set one for each request, with a method that is known to run nothing of
 * it; that much is said here, for the reason that _short.c gives: as bytecode it cost a request 2 % of its time. */

#include "_short.h"

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *schedule; /* the loop's own method */
    PyObject *noting;   /* what is called for every other callback: it asks, and calls `schedule` */
    PyObject *names;    /* those of the module that knows what is silent */
    PyObject *own;      /* what the loop had in its own dictionary */
    PyObject *weak;
} Timer;

/* Whether it is known already that calling `callback` runs nothing of the application: is_silent() of pieces.py. No
 * error: then it is not. */
static int
is_silent(Timer *self, PyObject *callback)
{
    if (!PyMethod_Check(callback)) {
        return 0;
    }
    PyObject *function = PyMethod_GET_FUNCTION(callback);
    State *state = PyType_GetModuleState(Py_TYPE(self));
    PyObject *table = state == NULL || state->silent == NULL ? NULL : PyDict_GetItemWithError(self->names, state->silent);
    if (table == NULL || !PyDict_CheckExact(table)) {
        PyErr_Clear();
        return 0;
    }
    PyObject *number = PyLong_FromVoidPtr(function); /* starts no collector: the table stays */
    int silent = number != NULL && PyDict_GetItemWithError(table, number) == function;
    PyErr_Clear();
    Py_XDECREF(number);
    return silent;
}

static PyObject *
timer_call(Timer *self, PyObject *const *args, size_t nargs, PyObject *names)
{
    int silent = PyVectorcall_NARGS(nargs) >= 2 && is_silent(self, args[1]);
    PyObject *callee = silent ? self->schedule : self->noting;
    if (callee == NULL) { /* its cycle is being taken apart */
        PyErr_SetString(PyExc_RuntimeError, "this event loop has gone");
        return NULL;
    }
    Py_INCREF(callee);
    PyObject *result = PyObject_Vectorcall(callee, args, nargs, names);
    Py_DECREF(callee);
    return result;
}

static PyObject *
timer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *schedule, *noting, *names;
    static char *keywords[] = {"schedule", "noting", "names", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OOO!", keywords, &schedule, &noting, &PyDict_Type, &names)) {
        return NULL;
    }
    Timer *self = (Timer *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->call = (vectorcallfunc)timer_call;
    self->schedule = Py_NewRef(schedule);
    self->noting = Py_NewRef(noting);
    self->names = Py_NewRef(names);
    return (PyObject *)self;
}

static int
timer_traverse(Timer *self, visitproc visit, void *arg)
{
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(self->schedule);
    Py_VISIT(self->noting);
    Py_VISIT(self->names);
    Py_VISIT(self->own);
    return 0;
}

static int
timer_clear(Timer *self)
{
    Py_CLEAR(self->schedule);
    Py_CLEAR(self->noting);
    Py_CLEAR(self->own);
    return 0;
}

static void
timer_dealloc(Timer *self)
{
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->weak != NULL) {
        PyObject_ClearWeakRefs((PyObject *)self);
    }
    timer_clear(self);
    Py_CLEAR(self->names); /* kept until here: it is asked before anything else is */
    type->tp_free(self);
    Py_DECREF(type);
}

/* It goes by the name of what it stands for. */
static PyObject *
of_schedule(Timer *self, void *name)
{
    PyObject *schedule = Py_XNewRef(self->schedule);
    if (schedule == NULL) {
        PyErr_SetString(PyExc_AttributeError, "this event loop has gone");
        return NULL;
    }
    PyObject *value = PyObject_GetAttrString(schedule, (const char *)name);
    Py_DECREF(schedule);
    return value;
}

static PyGetSetDef timer_attributes[] = {
    {"__name__", (getter)of_schedule, NULL, NULL, (void *)"__name__"},
    {"__qualname__", (getter)of_schedule, NULL, NULL, (void *)"__qualname__"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef timer_members[] = {
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Timer, call), READONLY, NULL},
    {"__weaklistoffset__", T_PYSSIZET, offsetof(Timer, weak), READONLY, NULL},
    {"__wrapped__", T_OBJECT, offsetof(Timer, schedule), READONLY, NULL},
    {"own", T_OBJECT, offsetof(Timer, own), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyType_Slot timer_slots[] = {
    {Py_tp_doc, "A method of an event loop that sets timers, and notes those of the application."},
    {Py_tp_new, timer_new},
    {Py_tp_call, PyVectorcall_Call},
    {Py_tp_getset, timer_attributes},
    {Py_tp_members, timer_members},
    {Py_tp_traverse, timer_traverse},
    {Py_tp_clear, timer_clear},
    {Py_tp_dealloc, timer_dealloc},
    {0, NULL},
};

PyType_Spec timer_spec = {
    .name = "stateguard._short.Timer",
    .basicsize = sizeof(Timer),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .slots = timer_slots,
};
