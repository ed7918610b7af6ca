/* values.c - arguments taken apart and results put together. */
#include "addon.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool wrong(napi_env env, const char *name, const char *want) {
    char text[160];
    snprintf(text, sizeof text, "%s must be %s", name, want);
    napi_throw_type_error(env, "ERR_INVALID_ARG_TYPE", text);
    return false;
}

static bool out_of_range(napi_env env, const char *name, const char *want) {
    char text[160];
    snprintf(text, sizeof text, "%s must be %s", name, want);
    napi_throw_range_error(env, "ERR_OUT_OF_RANGE", text);
    return false;
}

bool get_args(napi_env env, napi_callback_info info, size_t n, napi_value *args) {
    if (napi_get_cb_info(env, info, &n, args, NULL, NULL) == napi_ok) return true;
    throw_napi(env);
    return false;
}

static napi_valuetype type_of(napi_env env, napi_value v) {
    napi_valuetype type = napi_undefined;
    return napi_typeof(env, v, &type) == napi_ok ? type : napi_undefined;
}

bool is_missing(napi_env env, napi_value v) {
    napi_valuetype type = type_of(env, v);
    return type == napi_undefined || type == napi_null;
}

/* A whole number of JavaScript between two limits; both are exact as doubles. */
static bool get_whole(napi_env env, napi_value v, const char *name, double least, double most, double *out) {
    if (type_of(env, v) != napi_number || napi_get_value_double(env, v, out) != napi_ok)
        return wrong(env, name, "a number");
    if (*out != floor(*out) || *out < least || *out > most) {
        char want[96];
        snprintf(want, sizeof want, "a whole number from %.0f to %.0f", least, most);
        return out_of_range(env, name, want);
    }
    return true;
}

bool get_u32(napi_env env, napi_value v, const char *name, uint32_t *out) {
    double n;
    if (!get_whole(env, v, name, 0, UINT32_MAX, &n)) return false;
    *out = (uint32_t)n;
    return true;
}

bool get_u64(napi_env env, napi_value v, const char *name, uint64_t *out) {
    double n;

    if (type_of(env, v) == napi_bigint) {
        bool lossless = false;
        if (napi_get_value_bigint_uint64(env, v, out, &lossless) == napi_ok && lossless) return true;
        return out_of_range(env, name, "from 0n to 2n ** 64n - 1n");
    }
    if (!get_whole(env, v, name, 0, 9007199254740991.0 /* Number.MAX_SAFE_INTEGER */, &n)) return false;
    *out = (uint64_t)n;
    return true;
}

bool get_i64(napi_env env, napi_value v, const char *name, int64_t *out) {
    double n;

    *out = -1;
    if (is_missing(env, v)) return true;
    if (!get_whole(env, v, name, -1, 9007199254740991.0 /* Number.MAX_SAFE_INTEGER */, &n)) return false;
    *out = (int64_t)n;
    return true;
}

bool get_text(napi_env env, napi_value v, const char *name, char **out) {
    size_t len = 0;

    *out = NULL;
    if (type_of(env, v) != napi_string || napi_get_value_string_utf8(env, v, NULL, 0, &len) != napi_ok)
        return wrong(env, name, "a string");
    *out = malloc(len + 1);
    if (!*out || napi_get_value_string_utf8(env, v, *out, len + 1, &len) != napi_ok) {
        free(*out);
        *out = NULL;
        throw_napi(env);
        return false;
    }
    if (strlen(*out) == len) return true;
    free(*out);
    *out = NULL;
    return wrong(env, name, "a string without null characters");
}

bool get_text_optional(napi_env env, napi_value v, const char *name, char **out) {
    *out = NULL;
    return is_missing(env, v) || get_text(env, v, name, out);
}

bool get_bytes(napi_env env, napi_value v, const char *name, void **out, size_t *len) {
    napi_typedarray_type type;
    bool is_array = false;
    void *data = NULL;

    *out = NULL;
    if (type_of(env, v) == napi_string) {
        if (napi_get_value_string_utf8(env, v, NULL, 0, len) == napi_ok && (*out = malloc(*len + 1)) &&
            napi_get_value_string_utf8(env, v, *out, *len + 1, len) == napi_ok)
            return true;
    } else {
        if (napi_is_typedarray(env, v, &is_array) != napi_ok || !is_array ||
            napi_get_typedarray_info(env, v, &type, len, &data, NULL, NULL) != napi_ok || type != napi_uint8_array)
            return wrong(env, name, "a string or a Uint8Array");
        if ((*out = malloc(*len + 1))) {
            if (*len) memcpy(*out, data, *len);
            return true;
        }
    }
    free(*out);
    *out = NULL;
    throw_napi(env);
    return false;
}

/* The property, or undefined as *v; false with an exception pending when a getter threw. */
static bool property(napi_env env, napi_value o, const char *name, napi_value *v) {
    if (napi_get_named_property(env, o, name, v) == napi_ok) return true;
    throw_napi(env);
    return false;
}

#define OPTION(type, get)                                                                                             \
    napi_value v;                                                                                                     \
    if (!property(env, o, name, &v)) return false;                                                                    \
    return is_missing(env, v) || get(env, v, name, out);

bool opt_u32(napi_env env, napi_value o, const char *name, uint32_t *out) { OPTION(uint32_t, get_u32) }
bool opt_u64(napi_env env, napi_value o, const char *name, uint64_t *out) { OPTION(uint64_t, get_u64) }
bool opt_i64(napi_env env, napi_value o, const char *name, int64_t *out) { OPTION(int64_t, get_i64) }
bool opt_text(napi_env env, napi_value o, const char *name, char **out) { OPTION(char *, get_text) }

bool opt_u16(napi_env env, napi_value o, const char *name, uint16_t *out) {
    uint32_t n = *out;

    if (!opt_u32(env, o, name, &n)) return false;
    *out = (uint16_t)n;
    return n <= UINT16_MAX || out_of_range(env, name, "at most 65535");
}

bool opt_list(napi_env env, napi_value o, const char *name, napi_value *list, uint32_t *len) {
    bool is_array = false;

    *len = 0;
    if (!property(env, o, name, list)) return false;
    if (is_missing(env, *list)) return true;
    if (napi_is_array(env, *list, &is_array) != napi_ok || !is_array) return wrong(env, name, "an array");
    return napi_get_array_length(env, *list, len) == napi_ok;
}

bool opt_texts(napi_env env, napi_value o, const char *name, char ***texts, uint32_t *n) {
    napi_value list, v;

    *texts = NULL;
    if (!opt_list(env, o, name, &list, n)) return false;
    if (!*n) return true;
    *texts = calloc(*n, sizeof **texts);
    if (!*texts) {
        *n = 0;
        throw_napi(env);
        return false;
    }
    for (uint32_t i = 0; i < *n; i++)
        if (napi_get_element(env, list, i, &v) != napi_ok || !get_text(env, v, name, &(*texts)[i])) return false;
    return true;
}

void free_texts(char **texts, uint32_t n) {
    for (uint32_t i = 0; texts && i < n; i++) free(texts[i]);
    free(texts);
}

napi_value new_undefined(napi_env env) {
    napi_value v = NULL;
    NAPI(napi_get_undefined(env, &v));
    return v;
}

napi_value new_number(napi_env env, double n) {
    napi_value v = NULL;
    NAPI(napi_create_double(env, n, &v));
    return v;
}

napi_value new_text(napi_env env, const char *text) {
    napi_value v = NULL;
    NAPI(napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &v));
    return v;
}

/* Node takes descriptors up to 2 for the process's own stdio, and closes them never. */
napi_value new_fd(napi_env env, int fd) {
    if (fd <= STDERR_FILENO) {
        int higher = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
        close(fd);
        fd = higher;
    }
    return new_number(env, fd);
}

napi_value take_text(napi_env env, char *text) {
    napi_value v = new_text(env, text);
    capsa_mem_free(text);
    return v;
}

napi_value take_output(napi_env env, capsa_output *output) {
    napi_value o = NULL, bytes = NULL;
    size_t len = 0;
    const char *data = capsa_output_data(output, &len);
    double missing = (double)capsa_output_missing(output);

    bool ok = napi_create_object(env, &o) == napi_ok &&
              napi_create_buffer_copy(env, len, data, NULL, &bytes) == napi_ok && put(env, o, "bytes", bytes) &&
              put_number(env, o, "missing", missing);
    capsa_output_free(output);
    return ok ? o : throw_napi(env);
}

bool put(napi_env env, napi_value o, const char *name, napi_value v) {
    return v && napi_set_named_property(env, o, name, v) == napi_ok;
}

bool put_number(napi_env env, napi_value o, const char *name, double n) {
    napi_value v;
    return napi_create_double(env, n, &v) == napi_ok && put(env, o, name, v);
}

bool put_ms(napi_env env, napi_value o, const char *name, uint64_t ns) {
    return put_number(env, o, name, (double)ns / 1e6);
}
