/* SPDX-License-Identifier: MIT */
/* What device models have told Xen to give them. */
#include "binding.h"

/* ranges(host, serverId): [{type, start, end}] */
static napi_value ranges(napi_env env, napi_callback_info info)
{
    enum { MAX_RANGES = 3 * 256 }; /* MAX_NR_IO_RANGES of each type */
    struct call call;
    uint32_t server;
    napi_value array, object;
    static _Thread_local struct xensim_range found[MAX_RANGES];
    if (!call_begin(env, info, 2, &call) || !arg_u32(&call, 1, "server", &server))
        return NULL;
    unsigned n = xensim_ranges(call.host->x, server, found, MAX_RANGES);
    napi_create_array(env, &array);
    for (unsigned i = 0; i < n && i < MAX_RANGES; i++) {
        napi_create_object(env, &object);
        js_set(env, object, "type", js_number(env, found[i].type));
        js_set(env, object, "start", js_u64(env, found[i].start));
        js_set(env, object, "end", js_u64(env, found[i].end));
        napi_set_element(env, array, i, object);
    }
    return array;
}

/* mmcfgWindows(host): [{server, segment, base, startBus, endBus}] */
static napi_value mmcfg_windows(napi_env env, napi_callback_info info)
{
    enum { MAX_WINDOWS = 8 }; /* MAX_NR_MMCFG */
    struct call call;
    napi_value array, object;
    struct xensim_mmcfg found[MAX_WINDOWS];
    if (!call_begin(env, info, 1, &call))
        return NULL;
    unsigned n = xensim_mmcfg_windows(call.host->x, found, MAX_WINDOWS);
    napi_create_array(env, &array);
    for (unsigned i = 0; i < n && i < MAX_WINDOWS; i++) {
        napi_create_object(env, &object);
        js_set(env, object, "server", js_number(env, found[i].server));
        js_set(env, object, "segment", js_number(env, found[i].segment));
        js_set(env, object, "base", js_u64(env, found[i].base));
        js_set(env, object, "startBus", js_number(env, found[i].start_bus));
        js_set(env, object, "endBus", js_number(env, found[i].end_bus));
        napi_set_element(env, array, i, object);
    }
    return array;
}

const struct method claim_methods[] = {
    {"ranges", ranges}, {"mmcfgWindows", mmcfg_windows}, {NULL, NULL},
};
