/* SPDX-License-Identifier: MIT */
/*
 * The addon: what TypeScript and a foreign-function interface cannot do.
 *
 *   poll       readiness of an fd on the environment's own libuv loop
 *   publish    a release store and a notification, in one call
 *   stream     bytes between a descriptor and the state file; a descriptor for the supervisor to keep
 *   watchdog   a thread that ends the process when a handler hangs
 *   detach     take an ArrayBuffer away from JavaScript before its memory is unmapped
 *
 * Every environment (the main thread, each worker) has its own instance; nothing is shared.
 */
#ifndef IOREQD_ADDON_H
#define IOREQD_ADDON_H

#define NAPI_VERSION 8
#include <node_api.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct publisher;

struct instance {
    struct publisher *publishers; /* all that may still be called */
};

napi_value poll_start(napi_env env, napi_callback_info info);
napi_value poll_stop(napi_env env, napi_callback_info info);
napi_value poll_drain(napi_env env, napi_callback_info info);
napi_value poll_sleep(napi_env env, napi_callback_info info);
napi_value poll_ref(napi_env env, napi_callback_info info);

napi_value watch_start(napi_env env, napi_callback_info info);
napi_value watch_for(napi_env env, napi_callback_info info);
napi_value watch_stop(napi_env env, napi_callback_info info);
napi_value stream_send(napi_env env, napi_callback_info info);
napi_value stream_receive(napi_env env, napi_callback_info info);
napi_value socket_receive(napi_env env, napi_callback_info info);
napi_value pty_packets(napi_env env, napi_callback_info info);
napi_value send_descriptor(napi_env env, napi_callback_info info);

napi_value publisher_make(napi_env env, napi_callback_info info);
napi_value publisher_revoke(napi_env env, napi_callback_info info);
/* Make every publisher of a page within [from, from + length) return EBADF from now on. */
void publishers_forget_page(struct instance *instance, const void *from, size_t length);

napi_value watchdog_start(napi_env env, napi_callback_info info);
napi_value watchdog_stop(napi_env env, napi_callback_info info);

/* Throw a JavaScript Error with a code, and return NULL for the callback to return. */
napi_value throw_code(napi_env env, const char *code, const char *message);

#endif
