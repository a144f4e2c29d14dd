// Classify texts: classify model.onnx "a text" ..., or one text a line on stdin.
package main

/*
#cgo LDFLAGS: -lonnxruntime
#include <stdlib.h>
#include "classifier.h"
*/
import "C"

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"unsafe"
)

// Classifier runs one model. Calls from several goroutines are fine.
type Classifier struct {
	handle *C.classifier
	names  []string
}

// Classification holds the labels that apply, and each label's probability.
type Classification struct {
	Labels []string           `json:"labels"`
	Scores map[string]float32 `json:"scores"`
}

// Load reads a model from the bytes of its file.
func Load(model []byte) (*Classifier, error) {
	var c Classifier
	failure := C.classifier_load(unsafe.Pointer(unsafe.SliceData(model)), C.size_t(len(model)), &c.handle)
	if failure != nil {
		return nil, taken(failure)
	}
	var count C.size_t
	c.names = stringsOf(C.classifier_names(c.handle, &count), count)
	return &c, nil
}

// Close frees the model.
func (c *Classifier) Close() { C.classifier_free(c.handle) }

// Classify takes the bytes of a text.
func (c *Classifier) Classify(text []byte) (*Classification, error) {
	var answer C.classification
	failure := C.classifier_classify(c.handle, unsafe.Pointer(unsafe.SliceData(text)), C.size_t(len(text)), &answer)
	if failure != nil {
		return nil, taken(failure)
	}
	defer C.classification_free(&answer)
	out := Classification{stringsOf(answer.labels, answer.label_count), map[string]float32{}}
	for i, score := range unsafe.Slice(answer.scores, answer.score_count) {
		out.Scores[c.names[i]] = float32(score)
	}
	return &out, nil
}

func taken(failure *C.char) error {
	defer C.free(unsafe.Pointer(failure))
	return errors.New(C.GoString(failure))
}

func stringsOf(from **C.char, count C.size_t) []string {
	out := make([]string, 0, count)
	for _, each := range unsafe.Slice(from, count) {
		out = append(out, C.GoString(each))
	}
	return out
}

func run(args []string) error {
	if len(args) < 1 {
		return errors.New("usage: classify MODEL [TEXT ...]")
	}
	model, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	classifier, err := Load(model)
	if err != nil {
		return err
	}
	defer classifier.Close()
	encoder := json.NewEncoder(os.Stdout)
	encoder.SetEscapeHTML(false)
	show := func(text []byte) error {
		answer, err := classifier.Classify(text)
		if err != nil {
			return err
		}
		return encoder.Encode(answer)
	}
	for _, text := range args[1:] {
		if err := show([]byte(text)); err != nil {
			return err
		}
	}
	if len(args) > 1 {
		return nil
	}
	return eachLine(os.Stdin, show)
}

// eachLine gives each line without its line feed; a last line needs none.
func eachLine(from io.Reader, show func([]byte) error) error {
	reader := bufio.NewReader(from)
	for {
		line, err := reader.ReadBytes('\n')
		if err != nil && (err != io.EOF || len(line) == 0) {
			if err == io.EOF {
				return nil
			}
			return err
		}
		if err == nil {
			line = line[:len(line)-1]
		}
		if err := show(line); err != nil {
			return err
		}
	}
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "classify:", err)
		os.Exit(1)
	}
}
