/* SPDX-License-Identifier: MIT */
/* Arguments and results: the checks that JavaScript needs and C does not make. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "binding.h"

static bool bad_arg(napi_env env, const char *name, const char *wanted)
{
    char message[160];
    snprintf(message, sizeof message, "%s must be %s", name, wanted);
    napi_throw_type_error(env, "BAD_VALUE", message);
    return false;
}

bool call_begin(napi_env env, napi_callback_info info, size_t argc, struct call *call)
{
    void *data;
    call->env = env;
    call->argc = MAX_ARGS;
    if (napi_get_cb_info(env, info, &call->argc, call->argv, NULL, &data) != napi_ok)
        return false;
    call->e = data;
    if (call->argc < argc) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "%zu or more", argc);
        return bad_arg(env, "the number of arguments", wanted);
    }
    uint32_t id;
    if (!arg_u32(call, 0, "host", &id))
        return false;
    struct host *host = call->e->host;
    if (!host || host->id != id) {
        host = host_acquire(id);
        if (!host) {
            napi_throw_error(env, "HOST_CLOSED", "this simulated host was closed");
            return false;
        }
        host_release(call->e->host);
        call->e->host = host;
    }
    call->host = host;
    return true;
}

bool call_begin_vcpu(napi_env env, napi_callback_info info, size_t argc, struct call *call,
                     unsigned *vcpu)
{
    if (!call_begin(env, info, argc, call) || !arg_u32(call, 1, "vcpu", vcpu))
        return false;
    return *vcpu < call->host->vcpus || bad_arg(env, "vcpu", "below the number of vCPUs");
}

bool arg_u32(struct call *call, size_t i, const char *name, uint32_t *out)
{
    double value;
    if (napi_get_value_double(call->env, call->argv[i], &value) != napi_ok || !(value >= 0) ||
        value > UINT32_MAX || value != floor(value))
        return bad_arg(call->env, name, "a whole number from 0 to 2^32-1");
    *out = (uint32_t)value;
    return true;
}

bool arg_int(struct call *call, size_t i, const char *name, int32_t *out)
{
    double value;
    if (napi_get_value_double(call->env, call->argv[i], &value) != napi_ok ||
        !(value >= INT32_MIN && value <= INT32_MAX) || value != floor(value))
        return bad_arg(call->env, name, "a whole number of 32 bits");
    *out = (int32_t)value;
    return true;
}

bool arg_bool(struct call *call, size_t i, const char *name, bool *out)
{
    return napi_get_value_bool(call->env, call->argv[i], out) == napi_ok ||
           bad_arg(call->env, name, "true or false");
}

bool arg_u64(struct call *call, size_t i, const char *name, uint64_t *out)
{
    double value;
    if (napi_get_value_double(call->env, call->argv[i], &value) == napi_ok) {
        if (!(value >= 0 && value <= 9007199254740992.0) || value != floor(value))
            return bad_arg(call->env, name, "a whole number from 0 to 2^53");
        *out = (uint64_t)value;
        return true;
    }
    bool lossless;
    if (napi_get_value_bigint_uint64(call->env, call->argv[i], out, &lossless) != napi_ok || !lossless)
        return bad_arg(call->env, name, "a whole number, or a bigint from 0 to 2^64-1");
    return true;
}

bool arg_width(struct call *call, size_t i, unsigned *out)
{
    if (napi_get_value_uint32(call->env, call->argv[i], out) == napi_ok &&
        (*out == 1 || *out == 2 || *out == 4 || *out == 8))
        return true;
    return bad_arg(call->env, "width", "1, 2, 4 or 8 bytes");
}

bool arg_pair(struct call *call, size_t i, const char *name, uint64_t *out)
{
    /* Register values are int32 or uint32 in JavaScript; this takes either. */
    uint32_t lo, hi;
    if (napi_get_value_uint32(call->env, call->argv[i], &lo) != napi_ok ||
        napi_get_value_uint32(call->env, call->argv[i + 1], &hi) != napi_ok)
        return bad_arg(call->env, name, "two numbers, low and high");
    *out = (uint64_t)hi << 32 | lo;
    return true;
}

bool arg_bytes(struct call *call, size_t i, const char *name, size_t length, uint8_t **out)
{
    napi_typedarray_type type;
    size_t has;
    void *data;
    if (napi_get_typedarray_info(call->env, call->argv[i], &type, &has, &data, NULL, NULL) == napi_ok &&
        type == napi_uint8_array && has == length) {
        *out = data;
        return true;
    }
    char wanted[48];
    snprintf(wanted, sizeof wanted, "a Uint8Array of %zu bytes", length);
    return bad_arg(call->env, name, wanted);
}

bool arg_string(struct call *call, size_t i, const char *name, char **out)
{
    size_t length;
    if (napi_get_value_string_utf8(call->env, call->argv[i], NULL, 0, &length) != napi_ok)
        return bad_arg(call->env, name, "a string");
    char *text = malloc(length + 1);
    if (!text)
        return bad_arg(call->env, name, "a shorter string");
    napi_get_value_string_utf8(call->env, call->argv[i], text, length + 1, &length);
    if (strlen(text) != length) {
        free(text);
        return bad_arg(call->env, name, "a string without NUL");
    }
    *out = text;
    return true;
}

void throw_errno(napi_env env, const char *code, const char *what, int error)
{
    char message[512];
    snprintf(message, sizeof message, "%s: %s", what, strerror(error));
    napi_throw_error(env, code, message);
}

napi_value js_number(napi_env env, double value)
{
    napi_value result = NULL;
    napi_create_double(env, value, &result);
    return result;
}

napi_value js_bool(napi_env env, bool value)
{
    napi_value result = NULL;
    napi_get_boolean(env, value, &result);
    return result;
}

napi_value js_u64(napi_env env, uint64_t value)
{
    napi_value result = NULL;
    napi_create_bigint_uint64(env, value, &result);
    return result;
}

void js_set(napi_env env, napi_value object, const char *name, napi_value value)
{
    napi_set_named_property(env, object, name, value);
}
