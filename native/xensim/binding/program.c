/* SPDX-License-Identifier: MIT */
/* A guest program in C: a shared object whose xensim_guest_main() runs once for each vCPU. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "binding.h"

struct vcpu_thread {
    struct host *host;
    xensim_guest_main_fn *main;
    unsigned vcpu;
    int status;
    napi_threadsafe_function report;
};

static void *run_vcpu(void *data)
{
    struct vcpu_thread *thread = data;
    struct host *host = thread->host;
    napi_threadsafe_function report = thread->report;
    thread->status = thread->main(host->x, thread->vcpu, host->vcpus);
    host_release(host);
    if (napi_call_threadsafe_function(report, thread, napi_tsfn_blocking) == napi_ok)
        napi_release_threadsafe_function(report, napi_tsfn_release);
    else
        free(thread); /* the environment is ending: nobody asks any more, and `report` is gone */
    return NULL;
}

static void tell(napi_env env, napi_value callback, void *context, void *data)
{
    (void)context;
    struct vcpu_thread *thread = data;
    if (env) {
        napi_value undefined, argv[2] = {js_number(env, thread->vcpu), js_number(env, thread->status)};
        napi_get_undefined(env, &undefined);
        napi_call_function(env, undefined, callback, 2, argv, NULL);
    }
    free(thread);
}

/*
 * Node loads modules with RTLD_LOCAL. A guest program calls xensim_vcpu_access() and the like, and
 * must find this very copy of them, so they are made visible before the first one is loaded.
 */
static void publish_own_symbols(void)
{
    Dl_info self;
    if (dladdr((void *)publish_own_symbols, &self))
        dlopen(self.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL);
}

/* The entry point, or NULL with an exception pending. The object stays loaded: it may have threads. */
static xensim_guest_main_fn *load(napi_env env, const char *path)
{
    char message[1024];
    publish_own_symbols();
    void *object = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!object) {
        napi_throw_error(env, "GUEST_LOAD_FAILED", dlerror());
        return NULL;
    }
    xensim_guest_main_fn *entry;
    *(void **)&entry = dlsym(object, XENSIM_GUEST_MAIN);
    if (!entry) {
        snprintf(message, sizeof message, "%s exports no function " XENSIM_GUEST_MAIN, path);
        dlclose(object);
        napi_throw_error(env, "GUEST_LOAD_FAILED", message);
    }
    return entry;
}

static bool start_vcpu(struct host *host, xensim_guest_main_fn *entry, unsigned vcpu,
                       napi_threadsafe_function report)
{
    struct vcpu_thread *thread = malloc(sizeof *thread);
    if (!thread)
        return false;
    *thread = (struct vcpu_thread){.host = host, .main = entry, .vcpu = vcpu, .report = report};
    atomic_fetch_add(&host->refs, 1);
    napi_acquire_threadsafe_function(report);
    pthread_t id;
    if (pthread_create(&id, NULL, run_vcpu, thread) == 0) {
        pthread_detach(id);
        return true;
    }
    napi_release_threadsafe_function(report, napi_tsfn_release);
    host_release(host);
    free(thread);
    return false;
}

/* runProgram(host, path, onExit(vcpu, status)): how many vCPUs were started */
static napi_value run_program(napi_env env, napi_callback_info info)
{
    struct call call;
    char *path;
    napi_value name;
    napi_threadsafe_function report;
    if (!call_begin(env, info, 3, &call) || !arg_string(&call, 1, "path", &path))
        return NULL;
    xensim_guest_main_fn *entry = load(env, path);
    free(path);
    if (!entry)
        return NULL;
    napi_create_string_utf8(env, "xensim guest", NAPI_AUTO_LENGTH, &name);
    if (napi_create_threadsafe_function(env, call.argv[2], NULL, name, 0, 1, NULL, NULL, NULL, tell,
                                        &report) != napi_ok) {
        napi_throw_type_error(env, "BAD_VALUE", "onExit must be a function");
        return NULL;
    }
    /* A program that never returns must not keep the process from ending. */
    napi_unref_threadsafe_function(env, report);
    unsigned started = 0;
    while (started < call.host->vcpus && start_vcpu(call.host, entry, started, report))
        started++;
    napi_release_threadsafe_function(report, napi_tsfn_release);
    return js_number(env, started);
}

const struct method program_methods[] = {{"runProgram", run_program}, {NULL, NULL}};
