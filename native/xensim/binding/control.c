/* SPDX-License-Identifier: MIT */
/* A host from start to end, and the life of its domain. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"

/* start(path, vcpus, memory, arch, spinUs): the host's number */
static napi_value start(napi_env env, napi_callback_info info)
{
    struct call call = {.env = env, .argc = MAX_ARGS};
    void *data;
    char *path = NULL;
    uint32_t arch, id;
    struct xensim_config config;
    napi_get_cb_info(env, info, &call.argc, call.argv, NULL, &data);
    if (call.argc < 5) {
        napi_throw_type_error(env, "BAD_VALUE", "start() takes path, vcpus, memory, arch and spinUs");
        return NULL;
    }
    if (!arg_u32(&call, 1, "vcpus", &config.vcpus) || !arg_u64(&call, 2, "memory", &config.memory) ||
        !arg_u32(&call, 3, "arch", &arch) || !arg_u32(&call, 4, "spinUs", &config.spin_us) ||
        !arg_string(&call, 0, "path", &path))
        return NULL;
    config.socket_path = path;
    config.arch = arch ? XENSIM_ARM : XENSIM_X86;

    struct xensim *x;
    int error = xensim_start(&config, &x) ? errno : 0;
    if (!error) {
        error = host_register(x, &config, data, &id);
        if (error)
            xensim_free(x);
    }
    if (error)
        throw_errno(env, "HOST_START_FAILED", path, error);
    free(path);
    return error ? NULL : js_number(env, id);
}

/* close(host): stop it; its number means nothing from then on */
static napi_value close_host(napi_env env, napi_callback_info info)
{
    struct call call;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    host_close(call.host->id);
    call.e->host = NULL;
    host_release(call.host);
    return NULL;
}

static void release_ram(napi_env env, void *data, void *hint)
{
    (void)env, (void)data;
    host_release(hint);
}

/* ram(host): an ArrayBuffer over guest RAM. One per environment is enough. */
static napi_value ram(napi_env env, napi_callback_info info)
{
    struct call call;
    napi_value buffer;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    atomic_fetch_add(&call.host->refs, 1); /* the array may be used after close() */
    if (napi_create_external_arraybuffer(env, xensim_ram(call.host->x), call.host->memory, release_ram,
                                         call.host, &buffer) != napi_ok) {
        host_release(call.host);
        napi_throw_error(env, "RAM_TOO_LARGE", "this runtime cannot show guest RAM as an ArrayBuffer");
        return NULL;
    }
    return buffer;
}

#define SIMPLE(name, function)                                                                         \
    static napi_value name(napi_env env, napi_callback_info info)                                      \
    {                                                                                                  \
        struct call call;                                                                              \
        if (call_begin(env, info, 1, &call))                                                           \
            function(call.host->x);                                                                    \
        return NULL;                                                                                   \
    }
SIMPLE(stop, xensim_stop)
SIMPLE(unpause, xensim_unpause)
SIMPLE(pause_domain, xensim_pause)
SIMPLE(destroy_domain, xensim_destroy_domain)

/* decreaseReservation(host, vcpu, gfn): 0 or errno. Blocks until every server has answered. */
static napi_value decrease_reservation(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu;
    uint64_t gfn;
    if (!call_begin_vcpu(env, info, 3, &call, &vcpu) || !arg_u64(&call, 2, "gfn", &gfn))
        return NULL;
    return js_number(env, xensim_vcpu_decrease_reservation(call.host->x, vcpu, gfn) ? errno : 0);
}

static napi_value populate(napi_env env, napi_callback_info info)
{
    struct call call;
    uint64_t gfn;
    if (!call_begin(env, info, 2, &call) || !arg_u64(&call, 1, "gfn", &gfn))
        return NULL;
    return js_number(env, xensim_populate(call.host->x, gfn) ? errno : 0);
}

static napi_value send_timeoffset(napi_env env, napi_callback_info info)
{
    struct call call;
    int64_t seconds;
    if (!call_begin(env, info, 2, &call))
        return NULL;
    if (napi_get_value_int64(env, call.argv[1], &seconds) != napi_ok) {
        napi_throw_type_error(env, "BAD_VALUE", "seconds must be a number");
        return NULL;
    }
    xensim_send_timeoffset(call.host->x, seconds);
    return NULL;
}

static napi_value set_cf8_ext(napi_env env, napi_callback_info info)
{
    struct call call;
    bool on;
    if (call_begin(env, info, 2, &call) && arg_bool(&call, 1, "on", &on))
        xensim_set_cf8_ext(call.host->x, on);
    return NULL;
}

static napi_value shutdown_code(napi_env env, napi_callback_info info)
{
    struct call call;
    return call_begin(env, info, 1, &call) ? js_number(env, xensim_shutdown_code(call.host->x)) : NULL;
}

static napi_value mapped_pages(napi_env env, napi_callback_info info)
{
    struct call call;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    return js_number(env, (double)xensim_mapped_pages(call.host->x));
}

static napi_value crash_reason(napi_env env, napi_callback_info info)
{
    struct call call;
    napi_value text;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    const char *reason = xensim_crash_reason(call.host->x);
    if (reason)
        napi_create_string_utf8(env, reason, NAPI_AUTO_LENGTH, &text);
    else
        napi_get_null(env, &text);
    return text;
}

static napi_value console(napi_env env, napi_callback_info info)
{
    struct call call;
    napi_value text = NULL;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    for (size_t room = 1 << 16;; room *= 4) {
        char *buffer = malloc(room);
        if (!buffer) {
            napi_throw_error(env, "OUT_OF_MEMORY", "no memory for the console's text");
            return NULL;
        }
        size_t length = xensim_console(call.host->x, buffer, room);
        if (length + 1 < room || room >= 1 << 26) {
            napi_create_string_utf8(env, buffer, NAPI_AUTO_LENGTH, &text);
            free(buffer);
            return text;
        }
        free(buffer);
    }
}

static napi_value counters(napi_env env, napi_callback_info info)
{
    struct call call;
    struct xensim_counters c;
    napi_value object;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    xensim_get_counters(call.host->x, &c);
    const struct { const char *name; uint64_t value; } rows[] = {
        {"pio", c.pio}, {"copy", c.copy}, {"pciConfig", c.pci_config}, {"timeoffset", c.timeoffset},
        {"invalidate", c.invalidate}, {"buffered", c.buffered}, {"bufferedFallback", c.buffered_fallback},
        {"unhandled", c.unhandled}, {"aborted", c.aborted}, {"retried", c.retried},
        {"notifyFromServer", c.notify_from_server}, {"notifyToServer", c.notify_to_server},
        {"notifyDropped", c.notify_dropped}, {"intxOps", c.intx_ops}, {"msiOps", c.msi_ops},
        {"dmOps", c.dm_ops}, {"dmOpErrors", c.dm_op_errors}, {"rangesMapped", c.ranges_mapped},
        {"rangesUnmapped", c.ranges_unmapped}, {"servers", c.servers}, {"ranges", c.ranges},
        {"clients", c.clients}, {"mmcfgNative", c.mmcfg_native}, {"mmcfgTranslated", c.mmcfg_translated},
    };
    napi_create_object(env, &object);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        js_set(env, object, rows[i].name, js_number(env, (double)rows[i].value));
    return object;
}

/* ---- waitServerEnabled(host, timeoutMs): a promise, as the main thread must not block ---- */

struct wait {
    napi_async_work work;
    napi_deferred deferred;
    struct host *host;
    int32_t timeout;
    bool enabled;
};

static void wait_run(napi_env env, void *data)
{
    (void)env;
    struct wait *wait = data;
    wait->enabled = xensim_wait_server_enabled(wait->host->x, wait->timeout);
}

static void wait_done(napi_env env, napi_status status, void *data)
{
    (void)status;
    struct wait *wait = data;
    napi_resolve_deferred(env, wait->deferred, js_bool(env, wait->enabled));
    napi_delete_async_work(env, wait->work);
    host_release(wait->host);
    free(wait);
}

static napi_value wait_server_enabled(napi_env env, napi_callback_info info)
{
    struct call call;
    int32_t timeout;
    napi_value promise, name;
    if (!call_begin(env, info, 2, &call) || !arg_int(&call, 1, "timeout", &timeout))
        return NULL;
    struct wait *wait = calloc(1, sizeof *wait);
    if (!wait || napi_create_promise(env, &wait->deferred, &promise) != napi_ok) {
        free(wait);
        napi_throw_error(env, "OUT_OF_MEMORY", "no memory to wait for a server");
        return NULL;
    }
    wait->host = call.host;
    wait->timeout = timeout;
    atomic_fetch_add(&call.host->refs, 1);
    napi_create_string_utf8(env, "xensim", NAPI_AUTO_LENGTH, &name);
    napi_create_async_work(env, NULL, name, wait_run, wait_done, wait, &wait->work);
    napi_queue_async_work(env, wait->work);
    return promise;
}

const struct method control_methods[] = {
    {"start", start}, {"stop", stop}, {"close", close_host}, {"ram", ram}, {"unpause", unpause},
    {"pause", pause_domain}, {"destroyDomain", destroy_domain},
    {"decreaseReservation", decrease_reservation}, {"populate", populate},
    {"sendTimeoffset", send_timeoffset}, {"setCf8Extension", set_cf8_ext},
    {"shutdownCode", shutdown_code}, {"mappedPages", mapped_pages}, {"crashReason", crash_reason},
    {"console", console}, {"counters", counters},
    {"waitServerEnabled", wait_server_enabled}, {NULL, NULL},
};
