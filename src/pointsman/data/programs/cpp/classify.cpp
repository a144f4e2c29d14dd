// Classify texts: classify model.onnx "a text" ..., or one text a line on stdin.

#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include <onnxruntime_cxx_api.h>

struct Classification {
    std::vector<std::string> labels;  // those that apply
    std::vector<float> scores;        // a probability for each of Classifier::names
};

class Classifier {
public:
    explicit Classifier(const std::string& model)
        : session_(env_, model.data(), model.size(), options()) {
        names = strings(run({}, {"names"})[0]);
    }

    Classification classify(std::string_view text) {
        const auto outputs = run(text, {"scores", "labels"});
        const float* scores = outputs[0].GetTensorData<float>();
        return {strings(outputs[1]), {scores, scores + names.size()}};
    }

    std::vector<std::string> names;

private:
    static Ort::SessionOptions options() {
        Ort::SessionOptions options;
        options.SetIntraOpNumThreads(1);  // the model is too small to share out
        return options;
    }

    std::vector<Ort::Value> run(std::string_view text, std::vector<const char*> outputs) {
        static char none = 0;  // a tensor of no bytes wants an address all the same
        const char* input_name = "text";
        const int64_t size = static_cast<int64_t>(text.size());
        void* bytes = size ? const_cast<char*>(text.data()) : &none;
        const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
        const auto input = Ort::Value::CreateTensor(memory, bytes, text.size(), &size, 1,
                                                    ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8);
        return session_.Run(Ort::RunOptions{nullptr}, &input_name, &input, 1, outputs.data(),
                            outputs.size());
    }

    static std::vector<std::string> strings(const Ort::Value& tensor) {
        std::vector<std::string> out;
        const size_t count = tensor.GetTensorTypeAndShapeInfo().GetElementCount();
        for (size_t i = 0; i < count; i++) out.push_back(tensor.GetStringTensorElement(i));
        return out;
    }

    Ort::Env env_{ORT_LOGGING_LEVEL_WARNING, "classify"};
    Ort::Session session_;
};

std::string json(const std::string& text) {
    std::string out = "\"";
    for (const char byte : text) {
        if (static_cast<unsigned char>(byte) < 0x20) {
            char escaped[7];
            std::snprintf(escaped, sizeof escaped, "\\u%04x", byte);
            out += escaped;
        } else {
            if (byte == '"' || byte == '\\') out += '\\';
            out += byte;
        }
    }
    return out + '"';
}

void print(Classifier& classifier, std::string_view text) {
    const auto answer = classifier.classify(text);
    std::cout << "{\"labels\":[";
    for (size_t i = 0; i < answer.labels.size(); i++) {
        std::cout << (i ? "," : "") << json(answer.labels[i]);
    }
    std::cout << "],\"scores\":{";
    for (size_t i = 0; i < answer.scores.size(); i++) {
        std::cout << (i ? "," : "") << json(classifier.names[i]) << ':' << answer.scores[i];
    }
    std::cout << "}}" << std::endl;
}

int main(int argc, char** argv) try {
    if (argc < 2) throw std::invalid_argument("usage: classify MODEL [TEXT ...]");
#ifdef _WIN32
    _setmode(_fileno(stdin), _O_BINARY);
#endif
    std::ios::sync_with_stdio(false);
    std::cout.precision(9);  // enough for every float to be read back as it was
    std::ifstream file(argv[1], std::ios::binary);
    if (!file) throw std::runtime_error("the model cannot be opened");
    Classifier classifier({std::istreambuf_iterator<char>(file), {}});
    if (argc > 2) {
        for (int i = 2; i < argc; i++) print(classifier, argv[i]);
    } else {
        for (std::string line; std::getline(std::cin, line);) print(classifier, line);
    }
} catch (const std::exception& error) {
    std::cerr << "classify: " << error.what() << std::endl;
    return 1;
}
