/* SPDX-License-Identifier: MIT */
/*
 * Bytes between a descriptor and the state file.
 *
 * Sending notes each byte as sent right behind the write that sent it, with nothing of JavaScript's between the two:
 * a process that is killed there, and only there, has its successor send that one byte again. Readiness is that of
 * the environment's own libuv loop. Passing a descriptor to a supervisor needs a control message, whose layout only C knows.
 */
#define _GNU_SOURCE
#include "addon.h"
#include "uv-abi.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Two owners: the libuv handle, until it is closed, and the JavaScript value, until it is collected. */
struct watcher {
    napi_env env;
    uv_poll_t *handle; /* NULL once stopped */
    napi_async_cleanup_hook_handle cleanup;
    napi_ref ready;
    int owners;
};

static void disown(struct watcher *w)
{
    if (--w->owners == 0)
        free(w);
}

static void closed(uv_handle_t *handle)
{
    struct watcher *w = uv_handle_get_data(handle);

    free(handle);
    napi_remove_async_cleanup_hook(w->cleanup);
    disown(w);
}

static void stop(struct watcher *w)
{
    if (w->handle == NULL)
        return;
    napi_delete_reference(w->env, w->ready);
    uv_close(w->handle, closed);
    w->handle = NULL;
}

static void environment_goes(napi_async_cleanup_hook_handle handle, void *data)
{
    (void)handle;
    stop(data);
}

static void collected(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    disown(data);
}

/* A descriptor that fails is ready for everything: what is tried next tells why. */
static void ready(uv_poll_t *handle, int status, int events)
{
    struct watcher *w = uv_handle_get_data(handle);
    napi_env env = w->env;
    napi_handle_scope scope;
    napi_value fn, self, argument, error;

    if (napi_open_handle_scope(env, &scope) != napi_ok)
        return;
    w->owners++; /* JavaScript may stop the watcher while we are in it */
    /* napi_make_callback(), so that promise jobs of what a device does with a byte run. */
    if (napi_get_reference_value(env, w->ready, &fn) == napi_ok && napi_get_global(env, &self) == napi_ok &&
        napi_create_int32(env, status < 0 ? UV_READABLE | UV_WRITABLE : events, &argument) == napi_ok &&
        napi_make_callback(env, NULL, self, fn, 1, &argument, NULL) == napi_pending_exception &&
        napi_get_and_clear_last_exception(env, &error) == napi_ok)
        napi_fatal_exception(env, error);
    disown(w);
    napi_close_handle_scope(env, scope);
}

/* watchStart(fd, ready: (events) => void): watcher. Nothing is watched for yet. Makes the descriptor non-blocking. */
napi_value watch_start(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2], external;
    uv_loop_t *loop;
    struct watcher *w = calloc(1, sizeof(*w));
    uv_poll_t *handle = calloc(1, uv_handle_size(UV_POLL));
    int fd, error;

    if (w == NULL || handle == NULL || napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 2 ||
        napi_get_value_int32(env, argv[0], &fd) != napi_ok ||
        napi_get_uv_event_loop(env, (struct uv_loop_s **)&loop) != napi_ok ||
        napi_create_reference(env, argv[1], 1, &w->ready) != napi_ok) {
        free(handle);
        free(w);
        return throw_code(env, "EINVAL", "watchStart needs an fd and a function");
    }
    w->env = env;
    uv_handle_set_data(handle, w);
    error = uv_poll_init(loop, handle, fd);
    if (error < 0) {
        napi_delete_reference(env, w->ready);
        free(handle);
        free(w);
        return throw_code(env, error == -EPERM ? "EPERM" : error == -EBADF ? "EBADF" : "EINVAL",
                          error == -EPERM ? "this fd is always ready" : strerror(-error));
    }
    w->handle = handle;
    w->owners = 1;
    napi_add_async_cleanup_hook(env, environment_goes, w, &w->cleanup);
    if (napi_create_external(env, w, collected, NULL, &external) != napi_ok) {
        stop(w);
        return throw_code(env, "ENOMEM", "cannot watch this fd");
    }
    w->owners++;
    return external;
}

/* watchFor(watcher, events): UV_READABLE, UV_WRITABLE, both, or 0 for nothing. Nothing happens once stopped. */
napi_value watch_for(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2];
    struct watcher *w;
    int events;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 2 ||
        napi_get_value_external(env, argv[0], (void **)&w) != napi_ok ||
        napi_get_value_int32(env, argv[1], &events) != napi_ok)
        return throw_code(env, "EINVAL", "watchFor needs a watcher and events");
    if (w->handle == NULL)
        return NULL;
    if (events == 0)
        uv_poll_stop(w->handle);
    else
        uv_poll_start(w->handle, events, ready);
    return NULL;
}

/* watchStop(watcher): no callback comes after it; then the fd may be closed. */
napi_value watch_stop(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value argv[1];
    struct watcher *w;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 1 ||
        napi_get_value_external(env, argv[0], (void **)&w) != napi_ok)
        return throw_code(env, "EINVAL", "watchStop needs a watcher");
    stop(w);
    return NULL;
}

/* Memory of a Uint8Array, or NULL where it does not hold `length` bytes from `at` on. */
static uint8_t *bytes_at(napi_env env, napi_value array, uint32_t at, uint32_t length)
{
    void *data;
    size_t have;

    if (napi_get_typedarray_info(env, array, NULL, &have, &data, NULL, NULL) != napi_ok || at > have ||
        length > have - at)
        return NULL;
    return (uint8_t *)data + at;
}

/*
 * streamSend(fd, file: Uint8Array, at, size, most): number
 *
 * At `at` are two words, how many bytes were ever sent and how many ever queued, and at `at` + 16 a ring of `size`
 * bytes, a power of two. Sends up to `most` bytes, one a write(2), each noted in the first word once it is sent.
 * Returns how many, or the negative errno that the first one met.
 */
napi_value stream_send(napi_env env, napi_callback_info info)
{
    size_t argc = 5;
    napi_value argv[5], result;
    int32_t fd, done = 0;
    uint32_t at, size, most;
    uint8_t *memory;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 5 ||
        napi_get_value_int32(env, argv[0], &fd) != napi_ok || napi_get_value_uint32(env, argv[2], &at) != napi_ok ||
        napi_get_value_uint32(env, argv[3], &size) != napi_ok || napi_get_value_uint32(env, argv[4], &most) != napi_ok ||
        size == 0 || (size & (size - 1)) != 0 || at % 4 != 0 || size > INT32_MAX ||
        (memory = bytes_at(env, argv[1], at, size + 16)) == NULL)
        return throw_code(env, "EINVAL", "streamSend needs an fd, and a ring within a Uint8Array");

    volatile uint32_t *sent = (volatile uint32_t *)memory;
    uint32_t queued = sent[1];

    while ((uint32_t)done < most && *sent != queued) {
        ssize_t n = write(fd, memory + 16 + (*sent & (size - 1)), 1);

        if (n < 0 && errno == EINTR)
            continue;
        if (n != 1) {
            if (done == 0)
                done = n < 0 ? -errno : -EIO;
            break;
        }
        *sent += 1;
        done++;
    }
    return napi_create_int32(env, done, &result) == napi_ok ? result : NULL;
}

/*
 * streamReceive(fd, into: Uint8Array, at, length): number
 *
 * One read(2), straight into `into`. Returns how many bytes, 0 at the end, or a negative errno.
 */
napi_value stream_receive(napi_env env, napi_callback_info info)
{
    size_t argc = 4;
    napi_value argv[4], result;
    int32_t fd;
    uint32_t at, length;
    uint8_t *memory;
    ssize_t n;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 4 ||
        napi_get_value_int32(env, argv[0], &fd) != napi_ok || napi_get_value_uint32(env, argv[2], &at) != napi_ok ||
        napi_get_value_uint32(env, argv[3], &length) != napi_ok || length > INT32_MAX ||
        (memory = bytes_at(env, argv[1], at, length)) == NULL)
        return throw_code(env, "EINVAL", "streamReceive needs an fd, and room within a Uint8Array");
    do
        n = read(fd, memory, length);
    while (n < 0 && errno == EINTR);
    return napi_create_int32(env, n < 0 ? -errno : (int32_t)n, &result) == napi_ok ? result : NULL;
}

/*
 * socketReceive(fd, into: Uint8Array, at, header): number
 *
 * One byte of a socket, to `at`. At `header` is room for a struct mmsghdr, in which the kernel notes behind the byte that it
 * came: within the same call, which a process that is killed still finishes. Returns 1, 0 at the end, or a negative errno.
 * Source: Linux net/socket.c, do_recvmmsg().
 */
napi_value socket_receive(napi_env env, napi_callback_info info)
{
    size_t argc = 4;
    napi_value argv[4], result;
    int32_t fd;
    uint32_t at, header;
    struct mmsghdr *message;
    struct iovec byte = { .iov_len = 1 };
    int n;

    _Static_assert(sizeof(*message) == 64 && offsetof(struct mmsghdr, msg_len) == 56, "as src/pci/chardev-state.ts has it");
    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 4 ||
        napi_get_value_int32(env, argv[0], &fd) != napi_ok || napi_get_value_uint32(env, argv[2], &at) != napi_ok ||
        napi_get_value_uint32(env, argv[3], &header) != napi_ok || header % 8 != 0 ||
        (byte.iov_base = bytes_at(env, argv[1], at, 1)) == NULL ||
        (message = (struct mmsghdr *)bytes_at(env, argv[1], header, sizeof(*message))) == NULL)
        return throw_code(env, "EINVAL", "socketReceive needs an fd, and room within a Uint8Array");
    memset(&message->msg_hdr, 0, sizeof(message->msg_hdr));
    message->msg_hdr.msg_iov = &byte;
    message->msg_hdr.msg_iovlen = 1;
    do
        n = recvmmsg(fd, message, 1, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    return napi_create_int32(env, n < 0 ? -errno : (int32_t)message->msg_len, &result) == napi_ok ? result : NULL;
}

/* ptyPackets(fd): number. Packet mode for the master of a pseudo terminal. Returns 0 or an errno. Source: ioctl_tty(2), TIOCPKT. */
napi_value pty_packets(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value argv[1], result;
    int32_t fd;
    int on = 1;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 1 ||
        napi_get_value_int32(env, argv[0], &fd) != napi_ok)
        return throw_code(env, "EINVAL", "ptyPackets needs an fd");
    return napi_create_int32(env, ioctl(fd, TIOCPKT, &on) == 0 ? 0 : errno, &result) == napi_ok ? result : NULL;
}

/* sendDescriptor(socket, text: Uint8Array, fd): number. One datagram with a descriptor. Returns 0 or an errno. Source: unix(7), SCM_RIGHTS. */
napi_value send_descriptor(napi_env env, napi_callback_info info)
{
    size_t argc = 3, length;
    napi_value argv[3], result;
    int32_t socket, fd;
    void *text;
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
    ssize_t n;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 3 ||
        napi_get_value_int32(env, argv[0], &socket) != napi_ok ||
        napi_get_typedarray_info(env, argv[1], NULL, &length, &text, NULL, NULL) != napi_ok ||
        napi_get_value_int32(env, argv[2], &fd) != napi_ok)
        return throw_code(env, "EINVAL", "sendDescriptor needs a socket, a Uint8Array and an fd");

    struct iovec data = { .iov_base = text, .iov_len = length };
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = sizeof(control.room)
    };

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    do
        n = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return napi_create_int32(env, n < 0 ? errno : 0, &result) == napi_ok ? result : NULL;
}
