/* errors.c - errors of the library as objects of JavaScript. */
#include "addon.h"

#include <stdio.h>
#include <string.h>

/* The fields of a CapsaError. Strings that are empty are left out. */
static bool put_text(napi_env env, napi_value o, const char *name, const char *text, size_t len) {
    napi_value v;
    if (!len) return true;
    return napi_create_string_utf8(env, text, len, &v) == napi_ok && put(env, o, name, v);
}

static bool put_fields(napi_env env, napi_value o, capsa_status status, const capsa_error *err) {
    size_t tail_len = 0;
    const char *tail = capsa_error_console_tail(err, &tail_len);
    const char *message = capsa_error_message(err), *hint = capsa_error_hint(err);
    const char *component = capsa_error_component(err), *detail = capsa_error_detail_json(err);
    const char *code = capsa_status_name(status), *class = capsa_status_name(capsa_status_class(status));

    if (!*message) message = code;
    return put_number(env, o, "status", status) && put_text(env, o, "code", code, strlen(code)) &&
           put_text(env, o, "class", class, strlen(class)) && put_text(env, o, "message", message, strlen(message)) &&
           put_text(env, o, "hint", hint, strlen(hint)) &&
           put_text(env, o, "component", component, strlen(component)) &&
           put_text(env, o, "detail", detail, strlen(detail)) && put_text(env, o, "consoleTail", tail, tail_len) &&
           put_number(env, o, "errno", capsa_error_os_errno(err));
}

napi_value error_new(napi_env env, capsa_status status, capsa_error *err) {
    addon *a = addon_of(env);
    napi_value fields = NULL, class = NULL, error = NULL;

    bool ok = napi_create_object(env, &fields) == napi_ok && put_fields(env, fields, status, err);
    capsa_error_free(err);
    if (!ok || !a || !a->error_class || napi_get_reference_value(env, a->error_class, &class) != napi_ok || !class ||
        napi_new_instance(env, class, 1, &fields, &error) != napi_ok)
        return NULL;
    return error;
}

napi_value throw_status(napi_env env, capsa_status status, capsa_error *err) {
    napi_value error = error_new(env, status, err);
    if (!error) return throw_napi(env);
    napi_throw(env, error);
    return NULL;
}

napi_value throw_napi(napi_env env) {
    const napi_extended_error_info *info = NULL;
    bool pending = false;

    if (napi_get_last_error_info(env, &info) != napi_ok) info = NULL;
    const char *message = info && info->error_message ? info->error_message : "the addon failed, or is out of memory";
    if (napi_is_exception_pending(env, &pending) == napi_ok && !pending) napi_throw_error(env, NULL, message);
    return NULL;
}

napi_value throw_errno(napi_env env, const char *call, int number) {
    const char *name = strerrorname_np(number);
    napi_value code, message, error;
    char text[160];

    if (!name) name = "EUNKNOWN";
    snprintf(text, sizeof text, "%s: %s, %s", name, strerror(number), call); /* as Node's own errors are */
    NAPI(napi_create_string_utf8(env, name, NAPI_AUTO_LENGTH, &code));
    NAPI(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &message));
    NAPI(napi_create_error(env, code, message, &error));
    if (!put_number(env, error, "errno", -number) || !put(env, error, "syscall", new_text(env, call)))
        return throw_napi(env);
    napi_throw(env, error);
    return NULL;
}
