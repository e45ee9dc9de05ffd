/* SPDX-License-Identifier: MIT */
/*
 * Readiness of an event-channel fd on the loop of the environment that asks, all pending ports
 * taken with one read, and a short sleep that ends as soon as the loop has anything to do.
 * Reading the fd yields 32-bit port numbers. Source: Linux drivers/xen/evtchn.c, evtchn_read().
 */
#include "addon.h"
#include "uv-abi.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_PORTS = 256 };

/*
 * Two owners: the libuv handle, until it is closed, and the JavaScript value, until it is collected.
 * What lies in `ports` belongs to a typed array that is referenced while polling.
 */
struct poller {
    napi_env env;
    uv_poll_t *handle; /* NULL once stopped */
    napi_async_cleanup_hook_handle cleanup;
    napi_ref on_readable, array;
    uint8_t *ports;
    size_t carry; /* bytes of a port number whose rest has not arrived: only a byte stream does this */
    uint8_t partial[sizeof(uint32_t)];
    int fd;
    int owners;
};

static void disown(struct poller *p)
{
    if (--p->owners == 0)
        free(p);
}

static void closed(uv_handle_t *handle)
{
    struct poller *p = uv_handle_get_data(handle);

    free(handle);
    napi_remove_async_cleanup_hook(p->cleanup);
    disown(p);
}

static void stop(struct poller *p)
{
    if (p->handle == NULL)
        return;
    napi_delete_reference(p->env, p->on_readable);
    napi_delete_reference(p->env, p->array);
    p->ports = NULL;
    /* uv_close() stops polling at once; the memory is needed until it calls back. */
    uv_close(p->handle, closed);
    p->handle = NULL;
}

/* The environment goes: a worker that ends, or the process. It waits until closed() has run. */
static void environment_goes(napi_async_cleanup_hook_handle handle, void *data)
{
    (void)handle;
    stop(data);
}

/* Returns the number of ports now in p->ports, or a negative errno. */
static int drain(struct poller *p)
{
    ssize_t n;
    size_t bytes;

    memcpy(p->ports, p->partial, p->carry);
    do
        n = read(p->fd, p->ports + p->carry, MAX_PORTS * sizeof(uint32_t) - p->carry);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    if (n == 0)
        return -EPIPE; /* the simulated host has gone; /dev/xen/evtchn never ends */
    bytes = p->carry + (size_t)n;
    p->carry = bytes % sizeof(uint32_t);
    memcpy(p->partial, p->ports + bytes - p->carry, p->carry);
    return (int)(bytes / sizeof(uint32_t));
}

/* Also when polling failed: then draining tells why. */
static void ready(uv_poll_t *handle, int status, int events)
{
    struct poller *p = uv_handle_get_data(handle);
    napi_env env = p->env;
    napi_handle_scope scope;
    napi_value fn, self, error;

    (void)status;
    (void)events;
    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    p->owners++; /* JavaScript may stop the poller while we are in it */
    /* Not napi_make_callback(): it also runs promise jobs and ticks, and costs up to 17 us more. */
    if (napi_get_reference_value(env, p->on_readable, &fn) == napi_ok && napi_get_undefined(env, &self) == napi_ok &&
        napi_call_function(env, self, fn, 0, NULL, NULL) == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
    disown(p);
    napi_close_handle_scope(env, scope);
}

static void collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    disown(data);
}

static struct poller *argument(napi_env env, napi_callback_info info, size_t argc, napi_value *argv)
{
    struct poller *p;
    size_t given = argc;

    if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok || given != argc ||
        napi_get_value_external(env, argv[0], (void **)&p) != napi_ok) {
        throw_code(env, "EINVAL", "this needs a poller");
        return NULL;
    }
    return p;
}

static napi_value start_failed(napi_env env, struct poller *p, uv_poll_t *handle, int error)
{
    napi_delete_reference(env, p->on_readable);
    napi_delete_reference(env, p->array);
    free(handle);
    free(p);
    return throw_code(env, error == EBADF ? "EBADF" : "EINVAL",
                      error == EPERM ? "this fd cannot be polled" : strerror(error));
}

/* pollStart(fd, onReadable: () => void): { poller, ports: Uint32Array } */
napi_value poll_start(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2], buffer, array, external, result;
    void *ports;
    uv_loop_t *loop;
    struct poller *p = calloc(1, sizeof(*p));
    uv_poll_t *handle = calloc(1, uv_handle_size(UV_POLL));
    int error;

    if (p == NULL || handle == NULL || napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 2 ||
        napi_get_value_int32(env, argv[0], &p->fd) != napi_ok ||
        napi_create_reference(env, argv[1], 1, &p->on_readable) != napi_ok) {
        free(handle);
        free(p);
        return throw_code(env, "EINVAL", "pollStart needs an fd and a function");
    }
    if (napi_create_arraybuffer(env, MAX_PORTS * sizeof(uint32_t), &ports, &buffer) != napi_ok ||
        napi_create_typedarray(env, napi_uint32_array, MAX_PORTS, buffer, 0, &array) != napi_ok ||
        napi_create_reference(env, array, 1, &p->array) != napi_ok ||
        napi_create_object(env, &result) != napi_ok || napi_set_named_property(env, result, "ports", array) != napi_ok ||
        napi_get_uv_event_loop(env, (struct uv_loop_s **)&loop) != napi_ok)
        return start_failed(env, p, handle, EINVAL);
    p->env = env;
    p->ports = ports;
    uv_handle_set_data(handle, p);
    error = uv_poll_init(loop, handle, p->fd);
    if (error < 0)
        return start_failed(env, p, handle, -error);

    /* From here the loop knows the handle, so only uv_close() may end it. */
    p->handle = handle;
    p->owners = 1;
    napi_add_async_cleanup_hook(env, environment_goes, p, &p->cleanup);
    error = uv_poll_start(handle, UV_READABLE, ready);
    if (error == 0 && napi_create_external(env, p, collected, NULL, &external) == napi_ok) {
        p->owners++;
        napi_set_named_property(env, result, "poller", external);
        return result;
    }
    stop(p);
    return throw_code(env, "EINVAL", "the loop refuses to poll this fd");
}

/* pollStop(poller): no callback comes after it. */
napi_value poll_stop(napi_env env, napi_callback_info info)
{
    napi_value argv[1];
    struct poller *p = argument(env, info, 1, argv);

    if (p != NULL)
        stop(p);
    return NULL;
}

/* pollDrain(poller): how many ports are now in `ports`; a negative errno; 0 once stopped. */
napi_value poll_drain(napi_env env, napi_callback_info info)
{
    napi_value argv[1], result;
    struct poller *p = argument(env, info, 1, argv);

    if (p == NULL)
        return NULL;
    return napi_create_int32(env, p->handle == NULL ? 0 : drain(p), &result) == napi_ok ? result : NULL;
}

/*
 * pollSleep(poller, ms): boolean
 *
 * Sleep until an event is pending: true. False when anything else on the loop wants its turn (the loop's own
 * descriptor is readable, a timer or an immediate is due), when the time is over, or once stopped. One system
 * call, where a turn of the loop takes four: on a PV dom0 also reading the clock is one.
 */
napi_value poll_sleep(napi_env env, napi_callback_info info)
{
    napi_value argv[2], result;
    struct poller *p = argument(env, info, 2, argv);
    int32_t most;
    bool pending = false;

    if (p == NULL || napi_get_value_int32(env, argv[1], &most) != napi_ok)
        return NULL;
    if (p->handle != NULL) {
        uv_loop_t *loop = uv_handle_get_loop(p->handle);
        struct pollfd fds[2] = { { .fd = p->fd, .events = POLLIN }, { .fd = uv_backend_fd(loop), .events = POLLIN } };
        int due = uv_backend_timeout(loop); /* -1: no timer */

        if (due < 0 || due > most)
            due = most;
        /* The loop watches our descriptor too, so only what it says without ours counts. */
        pending = due > 0 && poll(fds, 2, due) > 0 && fds[0].revents != 0;
    }
    return napi_get_boolean(env, pending, &result) == napi_ok ? result : NULL;
}

/* pollRef(poller, alive: boolean): whether it keeps the loop alive. */
napi_value poll_ref(napi_env env, napi_callback_info info)
{
    napi_value argv[2];
    struct poller *p = argument(env, info, 2, argv);
    bool alive;

    if (p == NULL || p->handle == NULL || napi_get_value_bool(env, argv[1], &alive) != napi_ok)
        return NULL;
    (alive ? uv_ref : uv_unref)(p->handle);
    return NULL;
}
