/* Classify texts: classify model.onnx "a text" ..., or one text a line on stdin. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include "classifier.h"

static void give_up(const char *what) {
    fprintf(stderr, "classify: %s\n", what);
    exit(1);
}

/* A buffer that grows by doubling. */
typedef struct {
    char *bytes;
    size_t size, room;
} buffer;

static void push(buffer *to, int byte) {
    if (to->size == to->room) {
        to->room = to->room ? 2 * to->room : 4096;
        if (!(to->bytes = realloc(to->bytes, to->room))) give_up("out of memory");
    }
    to->bytes[to->size++] = (char)byte;
}

/* Reads up to `end`, which is left out; false when there was nothing more to read. */
static int read_until(FILE *from, int end, buffer *to) {
    int byte;
    to->size = 0;
    while ((byte = getc(from)) != EOF && byte != end) push(to, byte);
    return to->size > 0 || byte != EOF;
}

static void print_json(const char *text) {
    putchar('"');
    for (; *text; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x20) {
            printf("\\u%04x", byte);
        } else {
            if (byte == '"' || byte == '\\') putchar('\\');
            putchar(byte);
        }
    }
    putchar('"');
}

static void classify(classifier *model, const void *text, size_t size) {
    classification answer;
    char *failure = classifier_classify(model, text, size, &answer);
    if (failure) give_up(failure);
    size_t count;
    char *const *names = classifier_names(model, &count);
    printf("{\"labels\":[");
    for (size_t i = 0; i < answer.label_count; i++) {
        if (i) putchar(',');
        print_json(answer.labels[i]);
    }
    printf("],\"scores\":{");
    for (size_t i = 0; i < count; i++) {
        if (i) putchar(',');
        print_json(names[i]);
        printf(":%.9g", answer.scores[i]);
    }
    printf("}}\n");
    fflush(stdout);
    classification_free(&answer);
}

int main(int argc, char **argv) {
    if (argc < 2) give_up("usage: classify MODEL [TEXT ...]");
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
#endif
    buffer bytes = {0};
    FILE *file = fopen(argv[1], "rb");
    if (!file) give_up("the model cannot be opened");
    for (int byte; (byte = getc(file)) != EOF;) push(&bytes, byte);
    fclose(file);

    classifier *model;
    char *failure = classifier_load(bytes.bytes, bytes.size, &model);
    if (failure) give_up(failure);
    if (argc > 2) {
        for (int i = 2; i < argc; i++) classify(model, argv[i], strlen(argv[i]));
    } else {
        while (read_until(stdin, '\n', &bytes)) classify(model, bytes.bytes, bytes.size);
    }
    classifier_free(model);
    free(bytes.bytes);
    return 0;
}
