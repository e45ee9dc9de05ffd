/* SPDX-License-Identifier: MIT */
/* What device models did to the guest: interrupts, and pages reported as dirty. */
#include <stdlib.h>

#include "binding.h"

static napi_value gsi_level(napi_env env, napi_callback_info info)
{
    struct call call;
    uint32_t gsi;
    if (!call_begin(env, info, 2, &call) || !arg_u32(&call, 1, "gsi", &gsi))
        return NULL;
    return js_bool(env, xensim_gsi_level(call.host->x, gsi));
}

static napi_value gsi_edges(napi_env env, napi_callback_info info)
{
    struct call call;
    uint32_t gsi;
    if (!call_begin(env, info, 2, &call) || !arg_u32(&call, 1, "gsi", &gsi))
        return NULL;
    return js_number(env, (double)xensim_gsi_edges(call.host->x, gsi));
}

/* takeMsi(host): whether there was one; out = address, aux = data */
static napi_value take_msi(napi_env env, napi_callback_info info)
{
    struct call call;
    struct xensim_msi msi;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    if (!xensim_take_msi(call.host->x, &msi))
        return js_bool(env, false);
    call.e->out[OUT_LO] = (uint32_t)msi.addr;
    call.e->out[OUT_HI] = (uint32_t)(msi.addr >> 32);
    call.e->out[OUT_AUX] = msi.data;
    return js_bool(env, true);
}

/* takeEvent(host, vcpu): an object, or null */
static napi_value take_event(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu;
    struct xensim_event event;
    napi_value object;
    if (!call_begin_vcpu(env, info, 2, &call, &vcpu))
        return NULL;
    if (!xensim_take_event(call.host->x, vcpu, &event)) {
        napi_get_null(env, &object);
        return object;
    }
    napi_create_object(env, &object);
    js_set(env, object, "vector", js_number(env, event.vector));
    js_set(env, object, "type", js_number(env, event.type));
    js_set(env, object, "instructionLength", js_number(env, event.insn_len));
    js_set(env, object, "errorCode", js_number(env, event.error_code));
    js_set(env, object, "cr2", js_u64(env, event.cr2));
    return object;
}

/* waitInterrupt(host, seen, timeoutMs): the counter now; aux = whether it changed. Blocks. */
static napi_value wait_interrupt(napi_env env, napi_callback_info info)
{
    struct call call;
    uint64_t seen, now = 0;
    int32_t timeout;
    if (!call_begin(env, info, 3, &call) || !arg_u64(&call, 1, "seen", &seen) ||
        !arg_int(&call, 2, "timeout", &timeout))
        return NULL;
    call.e->out[OUT_AUX] = xensim_wait_interrupt(call.host->x, seen, timeout, &now);
    return js_number(env, (double)now);
}

static napi_value log_dirty(napi_env env, napi_callback_info info)
{
    struct call call;
    bool on;
    if (!call_begin(env, info, 2, &call) || !arg_bool(&call, 1, "on", &on))
        return NULL;
    xensim_log_dirty(call.host->x, on);
    return NULL;
}

/* takeDirty(host): an array of guest frame numbers, ascending, at most 65536 */
static napi_value take_dirty(napi_env env, napi_callback_info info)
{
    enum { MAX_GFNS = 65536 };
    struct call call;
    napi_value array;
    if (!call_begin(env, info, 1, &call))
        return NULL;
    uint64_t *gfns = malloc(MAX_GFNS * sizeof *gfns);
    if (!gfns) {
        napi_throw_error(env, "OUT_OF_MEMORY", "no memory for the list of dirty pages");
        return NULL;
    }
    unsigned n = xensim_take_dirty(call.host->x, gfns, MAX_GFNS);
    napi_create_array_with_length(env, n, &array);
    for (unsigned i = 0; i < n; i++)
        napi_set_element(env, array, i, js_number(env, (double)gfns[i]));
    free(gfns);
    return array;
}

const struct method interrupt_methods[] = {
    {"gsiLevel", gsi_level}, {"gsiEdges", gsi_edges}, {"takeMsi", take_msi}, {"takeEvent", take_event},
    {"waitInterrupt", wait_interrupt}, {"logDirty", log_dirty}, {"takeDirty", take_dirty}, {NULL, NULL},
};
