/* SPDX-License-Identifier: MIT */
#include "addon.h"

#include <stdlib.h>

napi_value throw_code(napi_env env, const char *code, const char *message)
{
    napi_throw_error(env, code, message);
    return NULL;
}

/*
 * detach(buffer: ArrayBuffer): void
 *
 * Afterwards its length is 0 and every view on it reads undefined, so unmapping the memory cannot
 * crash the process. In TypeScript there is no way: Node marks external buffers as not transferable,
 * and ArrayBuffer.prototype.transfer is missing from Node 20.
 */
static napi_value detach(napi_env env, napi_callback_info info)
{
    size_t argc = 1;
    napi_value buffer;
    void *data;
    size_t length;
    struct instance *instance;

    if (napi_get_cb_info(env, info, &argc, &buffer, NULL, NULL) != napi_ok || argc != 1 ||
        napi_get_arraybuffer_info(env, buffer, &data, &length) != napi_ok)
        return throw_code(env, "EINVAL", "detach needs an ArrayBuffer");
    if (length > 0 && napi_get_instance_data(env, (void **)&instance) == napi_ok)
        publishers_forget_page(instance, data, length);
    if (napi_detach_arraybuffer(env, buffer) != napi_ok)
        return throw_code(env, "EINVAL", "this ArrayBuffer cannot be detached");
    return NULL;
}

static void instance_free(napi_env env, void *data, void *hint)
{
    (void)env;
    (void)hint;
    /* Publishers are freed with their functions, which may come later: leave no way back here. */
    publishers_forget_page(data, NULL, SIZE_MAX);
    free(data);
}

NAPI_MODULE_INIT()
{
    static const struct {
        const char *name;
        napi_callback call;
    } functions[] = {
        { "pollStart", poll_start }, { "pollStop", poll_stop },       { "pollDrain", poll_drain },
        { "pollRef", poll_ref },     { "publisher", publisher_make }, { "revoke", publisher_revoke },
        { "pollSleep", poll_sleep }, { "detach", detach },
        { "watchStart", watch_start },       { "watchFor", watch_for },
        { "watchStop", watch_stop },         { "streamSend", stream_send },
        { "streamReceive", stream_receive }, { "ptyPackets", pty_packets },
        { "socketReceive", socket_receive }, { "sendDescriptor", send_descriptor },
        { "watchdogStart", watchdog_start }, { "watchdogStop", watchdog_stop },
    };
    struct instance *instance = calloc(1, sizeof(*instance));

    if (instance == NULL || napi_set_instance_data(env, instance, instance_free, NULL) != napi_ok)
        return throw_code(env, "ENOMEM", "cannot set up the addon");
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++) {
        napi_value fn;

        if (napi_create_function(env, functions[i].name, NAPI_AUTO_LENGTH, functions[i].call, NULL, &fn) != napi_ok ||
            napi_set_named_property(env, exports, functions[i].name, fn) != napi_ok)
            return NULL;
    }
    return exports;
}
