/* SPDX-License-Identifier: MIT */
/* What an environment gets when it loads the module, and what it leaves when it ends. */
#include <stdlib.h>

#include "binding.h"

static void environment_end(void *data)
{
    struct environment *e = data;
    hosts_close_owned(e);
    host_release(e->host);
    e->host = NULL;
}

static void environment_free(napi_env env, void *data, void *hint)
{
    (void)env, (void)hint;
    free(data);
}

static bool add_methods(napi_env env, napi_value exports, struct environment *e,
                        const struct method *methods)
{
    for (; methods->name; methods++) {
        napi_value function;
        if (napi_create_function(env, methods->name, NAPI_AUTO_LENGTH, methods->call, e, &function) !=
            napi_ok)
            return false;
        js_set(env, exports, methods->name, function);
    }
    return true;
}

NAPI_MODULE_INIT()
{
    struct environment *e = calloc(1, sizeof *e);
    napi_value buffer, out;
    if (!e) {
        napi_throw_error(env, "OUT_OF_MEMORY", "no memory for the simulated host's module");
        return NULL;
    }
    /* Instance data is freed after the environment's JavaScript has ended, so `out` needs no finalizer. */
    if (napi_create_external_arraybuffer(env, e->out, sizeof e->out, NULL, NULL, &buffer) != napi_ok ||
        napi_create_typedarray(env, napi_uint32_array, OUT_WORDS, buffer, 0, &out) != napi_ok ||
        napi_set_instance_data(env, e, environment_free, NULL) != napi_ok ||
        napi_add_env_cleanup_hook(env, environment_end, e) != napi_ok)
        return NULL;
    js_set(env, exports, "out", out);
    if (!add_methods(env, exports, e, control_methods) || !add_methods(env, exports, e, claim_methods) ||
        !add_methods(env, exports, e, vcpu_methods) || !add_methods(env, exports, e, interrupt_methods) ||
        !add_methods(env, exports, e, program_methods))
        return NULL;
    return exports;
}
