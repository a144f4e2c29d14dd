#include "classifier.h"

#include <stdlib.h>
#include <string.h>

#include <onnxruntime_c_api.h>

/* Gives up a function whose message is called `failure`, by way of its label `done`. */
#define TRY(call)                                   \
    do {                                            \
        if ((failure = message(api, (call)))) goto done; \
    } while (0)

struct classifier {
    const OrtApi *api;
    OrtEnv *env;
    OrtSession *session;
    OrtMemoryInfo *memory;
    char **names;
    size_t name_count;
};

static char *copy(const char *text, size_t size) {
    char *out = malloc(size + 1);
    if (!out) abort();
    memcpy(out, text, size);
    out[size] = 0;
    return out;
}

static char *message(const OrtApi *api, OrtStatus *status) {
    if (!status) return NULL;
    const char *text = api->GetErrorMessage(status);
    char *out = copy(text, strlen(text));
    api->ReleaseStatus(status);
    return out;
}

static void free_strings(char **strings, size_t count) {
    if (!strings) return;
    for (size_t i = 0; i < count; i++) free(strings[i]);
    free(strings);
}

/* Copies a tensor of strings out. Each is held as its bytes, one after the other, with no ends. */
static char *strings_of(const OrtApi *api, const OrtValue *tensor, char ***out, size_t *count) {
    OrtTensorTypeAndShapeInfo *shape = NULL;
    char *failure = NULL, *bytes = NULL;
    size_t *starts = NULL, size = 0;
    TRY(api->GetTensorTypeAndShape(tensor, &shape));
    TRY(api->GetTensorShapeElementCount(shape, count));
    TRY(api->GetStringTensorDataLength(tensor, &size));
    bytes = malloc(size + 1);
    starts = malloc((*count + 1) * sizeof *starts);
    *out = calloc(*count + 1, sizeof **out);
    if (!bytes || !starts || !*out) abort();
    if (*count) TRY(api->GetStringTensorContent(tensor, bytes, size, starts, *count));
    starts[*count] = size;
    for (size_t i = 0; i < *count; i++) (*out)[i] = copy(bytes + starts[i], starts[i + 1] - starts[i]);
done:
    if (shape) api->ReleaseTensorTypeAndShapeInfo(shape);
    free(starts);
    free(bytes);
    return failure;
}

static char *run(classifier *self, const void *text, size_t size, const char *const *names,
                 OrtValue **outputs, size_t count) {
    static const char *const input_names[] = {"text"};
    static char none; /* a tensor of no bytes wants an address all the same */
    const OrtApi *api = self->api;
    const int64_t shape = (int64_t)size;
    OrtValue *input = NULL;
    char *failure = NULL;
    TRY(api->CreateTensorWithDataAsOrtValue(self->memory, size ? (void *)text : &none, size, &shape, 1,
                                            ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, &input));
    TRY(api->Run(self->session, NULL, input_names, (const OrtValue *const *)&input, 1, names, count,
                 outputs));
done:
    if (input) api->ReleaseValue(input);
    return failure;
}

char *classifier_load(const void *model, size_t size, classifier **out) {
    static const char *const wanted[] = {"names"};
    const OrtApi *api = OrtGetApiBase()->GetApi(ORT_API_VERSION);
    if (!api) {
        const char text[] = "the onnxruntime library is older than the header";
        return copy(text, sizeof text - 1);
    }
    OrtSessionOptions *options = NULL;
    OrtValue *names = NULL;
    char *failure = NULL;
    classifier *self = calloc(1, sizeof *self);
    if (!self) abort();
    self->api = api;
    TRY(api->CreateEnv(ORT_LOGGING_LEVEL_WARNING, "classify", &self->env));
    TRY(api->CreateSessionOptions(&options));
    TRY(api->SetIntraOpNumThreads(options, 1)); /* the model is too small to share out */
    TRY(api->CreateSessionFromArray(self->env, model, size, options, &self->session));
    TRY(api->CreateCpuMemoryInfo(OrtArenaAllocator, OrtMemTypeDefault, &self->memory));
    if ((failure = run(self, "", 0, wanted, &names, 1))) goto done;
    failure = strings_of(api, names, &self->names, &self->name_count);
done:
    if (names) api->ReleaseValue(names);
    if (options) api->ReleaseSessionOptions(options);
    if (failure) {
        classifier_free(self);
        self = NULL;
    }
    *out = self;
    return failure;
}

char *classifier_classify(classifier *self, const void *text, size_t size, classification *out) {
    static const char *const wanted[] = {"scores", "labels"};
    const OrtApi *api = self->api;
    OrtValue *outputs[2] = {NULL, NULL};
    float *scores = NULL;
    memset(out, 0, sizeof *out);
    char *failure = run(self, text, size, wanted, outputs, 2);
    if (failure) return failure;
    TRY(api->GetTensorMutableData(outputs[0], (void **)&scores));
    out->score_count = self->name_count;
    out->scores = malloc((self->name_count + 1) * sizeof *scores);
    if (!out->scores) abort();
    memcpy(out->scores, scores, self->name_count * sizeof *scores);
    failure = strings_of(api, outputs[1], &out->labels, &out->label_count);
done:
    for (int i = 0; i < 2; i++) api->ReleaseValue(outputs[i]);
    if (failure) classification_free(out);
    return failure;
}

char *const *classifier_names(const classifier *self, size_t *count) {
    *count = self->name_count;
    return self->names;
}

void classification_free(classification *self) {
    free_strings(self->labels, self->label_count);
    free(self->scores);
    memset(self, 0, sizeof *self);
}

void classifier_free(classifier *self) {
    if (!self) return;
    free_strings(self->names, self->name_count);
    if (self->memory) self->api->ReleaseMemoryInfo(self->memory);
    if (self->session) self->api->ReleaseSession(self->session);
    if (self->env) self->api->ReleaseEnv(self->env);
    free(self);
}
