/* A text classifier in one ONNX file, through ONNX Runtime's C interface. */
#ifndef CLASSIFIER_H
#define CLASSIFIER_H

#include <stddef.h>

typedef struct classifier classifier;

typedef struct {
    char **labels; /* the names of the labels that apply, of label_count */
    size_t label_count;
    float *scores; /* a probability for each of classifier_names */
    size_t score_count;
} classification;

/* Each function gives NULL when all went well, else a message to be freed with free(). */
char *classifier_load(const void *model, size_t size, classifier **out);
char *classifier_classify(classifier *self, const void *text, size_t size, classification *out);

/* All the names, in the order of the scores; they belong to the classifier. */
char *const *classifier_names(const classifier *self, size_t *count);

void classification_free(classification *self);
void classifier_free(classifier *self);

#endif
