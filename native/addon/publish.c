/* SPDX-License-Identifier: MIT */
/*
 * The end of a request: IORESP_READY into the slot, then the notification.
 *
 * Xen reads the reply once it sees the state, so the state has to be stored with release order after
 * it. JavaScript promises the order of stores only for a SharedArrayBuffer, which a mapping cannot be.
 */
#include "addon.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

/* Xen public/hvm/ioreq.h: struct ioreq is 32 bytes; byte 30 holds the state in its low nibble, then
 * data_is_ptr, dir and df. */
enum { SLOT_SIZE = 32, STATE_AT = 30, STATE_MASK = 0x0f, STATE_IORESP_READY = 3 };

typedef int notify_fn(void *handle, uint32_t port);

struct publisher {
    struct publisher *next, **link; /* in instance->publishers; link is NULL once revoked */
    uint8_t *page;                  /* NULL once revoked */
    uint32_t slots;
    void *handle;
    notify_fn *notify;
    napi_ref buffer; /* an ArrayBuffer of JavaScript's own must outlive us */
};

static void revoke(struct publisher *p)
{
    if (p->link == NULL)
        return;
    *p->link = p->next;
    if (p->next != NULL)
        p->next->link = p->link;
    p->link = NULL;
    p->page = NULL;
}

void publishers_forget_page(struct instance *instance, const void *from, size_t length)
{
    struct publisher *next;

    for (struct publisher *p = instance->publishers; p != NULL; p = next) {
        next = p->next;
        if ((uintptr_t)p->page - (uintptr_t)from < length)
            revoke(p);
    }
}

/* (slot, port) => 0 or an errno. Hot. */
static napi_value publish(napi_env env, napi_callback_info info)
{
    size_t argc = 2;
    napi_value argv[2], result;
    struct publisher *p;
    uint32_t slot, port;
    int error = 0;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, (void **)&p) != napi_ok)
        return NULL;
    if (p->page == NULL) {
        error = EBADF;
    } else if (napi_get_value_uint32(env, argv[0], &slot) != napi_ok ||
               napi_get_value_uint32(env, argv[1], &port) != napi_ok || slot >= p->slots) {
        error = EINVAL;
    } else {
        uint8_t *state = p->page + (size_t)slot * SLOT_SIZE + STATE_AT;
        uint8_t flags = __atomic_load_n(state, __ATOMIC_RELAXED) & (uint8_t)~STATE_MASK;

        __atomic_store_n(state, (uint8_t)(flags | STATE_IORESP_READY), __ATOMIC_RELEASE);
        if (p->notify(p->handle, port) < 0)
            error = errno != 0 ? errno : EIO;
    }
    return napi_create_int32(env, error, &result) == napi_ok ? result : NULL;
}

static void publisher_free(napi_env env, void *data, void *hint)
{
    struct publisher *p = data;

    (void)hint;
    revoke(p);
    napi_delete_reference(env, p->buffer);
    free(p);
}

/* publisher(library: string, handle: bigint, page: ArrayBuffer): (slot, port) => errno */
napi_value publisher_make(napi_env env, napi_callback_info info)
{
    size_t argc = 3, length, path_length;
    napi_value argv[3], fn;
    char path[4096];
    uint64_t handle;
    bool lossless;
    void *page, *library, *symbol;
    struct instance *instance;
    struct publisher *p;

    if (napi_get_cb_info(env, info, &argc, argv, NULL, NULL) != napi_ok || argc != 3 ||
        napi_get_value_string_utf8(env, argv[0], path, sizeof(path), &path_length) != napi_ok ||
        napi_get_value_bigint_uint64(env, argv[1], &handle, &lossless) != napi_ok || !lossless ||
        napi_get_arraybuffer_info(env, argv[2], &page, &length) != napi_ok || length < SLOT_SIZE)
        return throw_code(env, "EINVAL", "publisher needs a library, a handle and a page");
    /* Loaded already, by whoever opened the handle: this finds the same copy. */
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    symbol = library != NULL ? dlsym(library, "xenevtchn_notify") : NULL;
    if (symbol == NULL)
        return throw_code(env, "ENOENT", dlerror());

    p = calloc(1, sizeof(*p));
    if (p == NULL || napi_get_instance_data(env, (void **)&instance) != napi_ok) {
        free(p);
        return throw_code(env, "ENOMEM", "no memory for a publisher");
    }
    p->page = page;
    p->slots = (uint32_t)(length / SLOT_SIZE);
    p->handle = (void *)(uintptr_t)handle;
    p->notify = (notify_fn *)(uintptr_t)symbol;
    if (napi_create_function(env, "publish", NAPI_AUTO_LENGTH, publish, p, &fn) != napi_ok ||
        napi_create_reference(env, argv[2], 1, &p->buffer) != napi_ok) {
        free(p);
        return throw_code(env, "ENOMEM", "no memory for a publisher");
    }
    if (napi_add_finalizer(env, fn, p, publisher_free, NULL, NULL) != napi_ok) {
        napi_delete_reference(env, p->buffer);
        free(p);
        return throw_code(env, "ENOMEM", "no memory for a publisher");
    }
    p->next = instance->publishers;
    p->link = &instance->publishers;
    if (p->next != NULL)
        p->next->link = &p->next;
    instance->publishers = p;
    return fn;
}

/* revoke(handle: bigint): void. Publishers of that handle return EBADF from now on. */
napi_value publisher_revoke(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value arg;
    uint64_t handle;
    bool lossless;
    struct instance *instance;
    struct publisher *next;

    if (napi_get_cb_info(env, info, &argc, &arg, NULL, NULL) != napi_ok || argc != 1 ||
        napi_get_value_bigint_uint64(env, arg, &handle, &lossless) != napi_ok ||
        napi_get_instance_data(env, (void **)&instance) != napi_ok)
        return throw_code(env, "EINVAL", "revoke needs a handle");
    for (struct publisher *p = instance->publishers; p != NULL; p = next) {
        next = p->next;
        if ((uintptr_t)p->handle == (uintptr_t)handle)
            revoke(p);
    }
    return NULL;
}
