/* SPDX-License-Identifier: MIT */
/* What a vCPU does. Each of these blocks its thread until Xen lets the vCPU go on. */
#include <string.h>
#include <time.h>

#include "binding.h"

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* How long the access took, at most 4.29 s, and its result. */
static napi_value finish(struct call *call, uint64_t began, int result)
{
    uint64_t took = now_ns() - began;
    call->e->out[OUT_NS] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    return js_number(call->env, result);
}

static void put(struct call *call, uint64_t value)
{
    call->e->out[OUT_LO] = (uint32_t)value;
    call->e->out[OUT_HI] = (uint32_t)(value >> 32);
}

/* access(host, vcpu, space, write, addr, width, lo, hi): result; out = value, ns */
static napi_value access_value(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu, width;
    uint32_t space;
    bool write;
    uint64_t addr, data;
    if (!call_begin_vcpu(env, info, 8, &call, &vcpu) || !arg_u32(&call, 2, "space", &space) ||
        !arg_bool(&call, 3, "write", &write) || !arg_u64(&call, 4, "address", &addr) ||
        !arg_width(&call, 5, &width) || !arg_pair(&call, 6, "value", &data))
        return NULL;
    uint64_t began = now_ns();
    int result = xensim_vcpu_access(call.host->x, vcpu, space ? XENSIM_MMIO : XENSIM_PIO, write, addr,
                                    width, &data);
    put(&call, data);
    return finish(&call, began, result);
}

/* mmio(host, vcpu, write, addr, bytes): result; bytes read are left there */
static napi_value mmio(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu;
    bool write;
    uint64_t addr;
    napi_typedarray_type type;
    size_t length;
    void *bytes;
    if (!call_begin_vcpu(env, info, 5, &call, &vcpu) || !arg_bool(&call, 2, "write", &write) ||
        !arg_u64(&call, 3, "address", &addr))
        return NULL;
    if (napi_get_typedarray_info(env, call.argv[4], &type, &length, &bytes, NULL, NULL) != napi_ok ||
        type != napi_uint8_array || length < 1 || length > 64) {
        napi_throw_type_error(env, "BAD_VALUE", "bytes must be a Uint8Array of 1 to 64 bytes");
        return NULL;
    }
    uint64_t began = now_ns();
    int result = xensim_vcpu_mmio(call.host->x, vcpu, write, addr, bytes, (unsigned)length);
    return finish(&call, began, result);
}

/* rep(host, vcpu, space, toRam, addr, ram, width, count, backwards): result; out = done, ns */
static napi_value rep(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu, width;
    uint32_t space, count, done = 0;
    bool to_ram, backwards;
    uint64_t addr, ram;
    if (!call_begin_vcpu(env, info, 9, &call, &vcpu) || !arg_u32(&call, 2, "space", &space) ||
        !arg_bool(&call, 3, "toRam", &to_ram) || !arg_u64(&call, 4, "address", &addr) ||
        !arg_u64(&call, 5, "ram", &ram) || !arg_width(&call, 6, &width) ||
        !arg_u32(&call, 7, "count", &count) || !arg_bool(&call, 8, "backwards", &backwards))
        return NULL;
    uint64_t began = now_ns();
    int result = xensim_vcpu_rep(call.host->x, vcpu, space ? XENSIM_MMIO : XENSIM_PIO, to_ram, addr, ram,
                                 width, count, backwards, &done);
    put(&call, done);
    return finish(&call, began, result);
}

/* repStos(host, vcpu, addr, lo, hi, width, count, backwards): result; out = ns */
static napi_value rep_stos(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu, width;
    uint32_t count;
    bool backwards;
    uint64_t addr, data;
    if (!call_begin_vcpu(env, info, 8, &call, &vcpu) || !arg_u64(&call, 2, "address", &addr) ||
        !arg_pair(&call, 3, "value", &data) || !arg_width(&call, 5, &width) ||
        !arg_u32(&call, 6, "count", &count) || !arg_bool(&call, 7, "backwards", &backwards))
        return NULL;
    uint64_t began = now_ns();
    int result = xensim_vcpu_rep_stos(call.host->x, vcpu, addr, data, width, count, backwards);
    return finish(&call, began, result);
}

/* raw(host, vcpu, ioreq): result; ioreq holds what the server left */
static napi_value raw(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu;
    uint8_t *ioreq;
    if (!call_begin_vcpu(env, info, 3, &call, &vcpu) || !arg_bytes(&call, 2, "ioreq", 32, &ioreq))
        return NULL;
    /* Another thread may write a shared array meanwhile; Xen's side works on its own copy. */
    uint64_t copy[4];
    memcpy(copy, ioreq, sizeof copy);
    uint64_t began = now_ns();
    int result = xensim_vcpu_raw(call.host->x, vcpu, copy);
    memcpy(ioreq, copy, sizeof copy);
    return finish(&call, began, result);
}

/* rawBuffered(host, ioreq): result */
static napi_value raw_buffered(napi_env env, napi_callback_info info)
{
    struct call call;
    uint8_t *ioreq;
    if (!call_begin(env, info, 2, &call) || !arg_bytes(&call, 1, "ioreq", 32, &ioreq))
        return NULL;
    uint64_t copy[4];
    memcpy(copy, ioreq, sizeof copy);
    return js_number(env, xensim_raw_buffered(call.host->x, copy));
}

/* writeShared(host, at, width, lo, hi): whether there is a server, and such a place in its pages */
static napi_value write_shared(napi_env env, napi_callback_info info)
{
    struct call call;
    uint32_t at;
    unsigned width;
    uint64_t value;
    if (!call_begin(env, info, 5, &call) || !arg_u32(&call, 1, "at", &at) || !arg_width(&call, 2, &width) ||
        !arg_pair(&call, 3, "value", &value))
        return NULL;
    return js_bool(env, xensim_write_shared(call.host->x, at, width, value));
}

/* vgaWrite(host, vcpu, addr, width, lo, hi): result; out = ns */
static napi_value vga_write(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu, width;
    uint64_t addr, data;
    if (!call_begin_vcpu(env, info, 6, &call, &vcpu) || !arg_u64(&call, 2, "address", &addr) ||
        !arg_width(&call, 3, &width) || !arg_pair(&call, 4, "value", &data))
        return NULL;
    uint64_t began = now_ns();
    int result = xensim_vcpu_vga_write(call.host->x, vcpu, addr, width, data);
    return finish(&call, began, result);
}

/* invalidate(host, vcpu): result; out = ns */
static napi_value invalidate(napi_env env, napi_callback_info info)
{
    struct call call;
    unsigned vcpu;
    if (!call_begin_vcpu(env, info, 2, &call, &vcpu))
        return NULL;
    uint64_t began = now_ns();
    int result = xensim_vcpu_invalidate(call.host->x, vcpu);
    return finish(&call, began, result);
}

const struct method vcpu_methods[] = {
    {"access", access_value}, {"mmio", mmio}, {"rep", rep}, {"repStos", rep_stos}, {"raw", raw},
    {"rawBuffered", raw_buffered}, {"writeShared", write_shared}, {"vgaWrite", vga_write}, {"invalidate", invalidate}, {NULL, NULL},
};
