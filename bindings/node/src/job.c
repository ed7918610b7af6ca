/* job.c - calls that may wait, off the thread of JavaScript, each with a promise. */
#include "addon.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* The stack of a waiting thread: it makes one call of the library, for which 64 KiB is enough. */
#define STACK_SIZE (256 * 1024)

void *job_new(napi_env env, size_t size) {
    job *j = calloc(1, size);

    if (!j) return throw_napi(env);
    j->owner = addon_of(env);
    j->cancel = j->owner->cancel;
    return j;
}

void job_free(job *j) {
    if (j->drop) j->drop(j);
    capsa_error_free(j->err);
    free(j);
}

/* Settles the promise on the thread of JavaScript, and frees the job. In an ending environment nothing can be settled. */
static void settle(napi_env env, job *j) {
    napi_value value = NULL;
    bool failed = j->status != CAPSA_OK, threw = false;

    if (failed) {
        value = error_new(env, j->status, j->err);
        j->err = NULL;
    } else {
        value = j->result ? j->result(env, j) : new_undefined(env);
    }
    if (!value && napi_is_exception_pending(env, &threw) == napi_ok && threw) {
        failed = true;
        if (napi_get_and_clear_last_exception(env, &value) != napi_ok) value = NULL;
    }
    if (value && failed) (void)napi_reject_deferred(env, j->deferred, value);
    if (value && !failed) (void)napi_resolve_deferred(env, j->deferred, value);
    job_free(j);
}

static napi_value promise(napi_env env, job *j) {
    napi_value v = NULL;

    if (napi_create_promise(env, &j->deferred, &v) == napi_ok) return v;
    job_free(j);
    return throw_napi(env);
}

napi_value job_finish_now(napi_env env, job *j) {
    napi_value v = promise(env, j);
    if (v) settle(env, j);
    return v;
}

/* ---- On the pool. */

static void pool_run(napi_env env, void *data) {
    job *j = data;
    (void)env;
    j->run(j);
}

static void pool_done(napi_env env, napi_status status, void *data) {
    job *j = data;

    napi_delete_async_work(env, j->work);
    if (status == napi_ok)
        settle(env, j);
    else
        job_free(j); /* it never ran: the environment ends */
}

napi_value job_start(napi_env env, job *j) {
    napi_value name, v = promise(env, j);

    if (!v) return NULL;
    if (napi_create_string_utf8(env, "capsa", NAPI_AUTO_LENGTH, &name) != napi_ok ||
        napi_create_async_work(env, NULL, name, pool_run, pool_done, j, &j->work) != napi_ok) {
        job_free(j);
        return throw_napi(env);
    }
    if (napi_queue_async_work(env, j->work) != napi_ok) {
        napi_delete_async_work(env, j->work);
        job_free(j);
        return throw_napi(env);
    }
    return v;
}

/* ---- In threads. */

static void *thread_run(void *data) {
    job *j = data;
    napi_threadsafe_function bell = j->owner->bell;

    j->run(j);
    /* A bell that is closing has let go of this thread by itself. From here on the job is the other thread's. */
    if (napi_call_threadsafe_function(bell, j, napi_tsfn_nonblocking) != napi_closing)
        napi_release_threadsafe_function(bell, napi_tsfn_release);
    return NULL;
}

/* The bell rings: on the thread of JavaScript, or without an environment when that has ended. */
static void rung(napi_env env, napi_value function, void *context, void *data) {
    job *j = data;

    (void)function, (void)context;
    if (!env) {
        job_free(j); /* jobs_end_all has joined its thread */
        return;
    }
    addon *a = j->owner;
    pthread_join((pthread_t)j->thread, NULL);
    *j->link = j->next;
    if (j->next) j->next->link = j->link;
    if (!a->threads) napi_unref_threadsafe_function(env, a->bell);
    settle(env, j);
}

/* The thread takes none of the process's signals. */
static int create_thread(pthread_t *thread, job *j) {
    pthread_attr_t attr;
    sigset_t all, old;

    int rc = pthread_attr_init(&attr);
    if (rc) return rc;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    rc = pthread_attr_setstacksize(&attr, STACK_SIZE);
    if (!rc) rc = pthread_create(thread, &attr, thread_run, j);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    pthread_attr_destroy(&attr);
    return rc;
}

napi_value job_start_thread(napi_env env, job *j) {
    addon *a = j->owner;
    pthread_t thread;
    napi_value v = promise(env, j);

    if (!v) return NULL;
    if (napi_acquire_threadsafe_function(a->bell) != napi_ok) {
        job_free(j);
        return throw_napi(env);
    }
    int rc = create_thread(&thread, j);
    if (rc) {
        napi_release_threadsafe_function(a->bell, napi_tsfn_release);
        job_free(j);
        return throw_errno(env, "pthread_create", rc);
    }
    if (!a->threads) napi_ref_threadsafe_function(env, a->bell); /* a pending wait keeps the process alive */
    j->thread = (uintptr_t)thread;
    j->next = a->threads;
    j->link = &a->threads;
    if (j->next) j->next->link = &j->next;
    a->threads = j;
    return v;
}

bool jobs_open(addon *a) {
    napi_value name;

    return napi_create_string_utf8(a->env, "capsa", NAPI_AUTO_LENGTH, &name) == napi_ok &&
           napi_create_threadsafe_function(a->env, NULL, NULL, name, 0, 1, NULL, NULL, NULL, rung, &a->bell) ==
               napi_ok &&
           napi_unref_threadsafe_function(a->env, a->bell) == napi_ok;
}

/* Their cancels have been triggered. The jobs are freed when the bell goes through what was left in it. */
void jobs_end_all(addon *a) {
    for (job *j = a->threads; j; j = j->next)
        if (j->stop) j->stop(j);
    for (job *j = a->threads; j; j = a->threads) {
        a->threads = j->next;
        pthread_join((pthread_t)j->thread, NULL);
    }
}
