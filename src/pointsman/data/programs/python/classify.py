"""Classify texts: python classify.py model.onnx "a text" ..., or one text a line on stdin."""

import json
import os
import sys

import numpy as np
import onnxruntime as ort


class Classifier:
    def __init__(self, path):
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # the model is too small to share out
        self.session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.names = self._run(["names"], b"")[0].tolist()

    def classify(self, text):
        """Give the labels that apply to the bytes of a text, and each label's probability."""
        scores, labels = self._run(["scores", "labels"], text)
        return {"labels": labels.tolist(), "scores": dict(zip(self.names, scores.tolist()))}

    def _run(self, outputs, text):
        return self.session.run(outputs, {"text": np.frombuffer(text, np.uint8)})


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: classify.py MODEL [TEXT ...]")
    classifier = Classifier(sys.argv[1])
    lines = (line.removesuffix(b"\n") for line in sys.stdin.buffer)
    for text in map(os.fsencode, sys.argv[2:]) if sys.argv[2:] else lines:
        answer = json.dumps(classifier.classify(text), ensure_ascii=False)
        sys.stdout.buffer.write(answer.encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
