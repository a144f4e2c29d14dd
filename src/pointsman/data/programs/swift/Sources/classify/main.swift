// Classify texts: classify model.onnx "a text" ..., or one text a line on stdin.

import Foundation

func readLineBytes() -> Data? {
    var line = Data()
    while true {
        let next = getchar()
        if next == EOF { return line.isEmpty ? nil : line }
        if next == 10 { return line }
        line.append(UInt8(next))
    }
}

let arguments = CommandLine.arguments.dropFirst()
guard let model = arguments.first else {
    FileHandle.standardError.write(Data("usage: classify MODEL [TEXT ...]\n".utf8))
    exit(2)
}

let classifier = try Classifier(path: model)
let encoder = JSONEncoder()
encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]

func show(_ text: Data) throws {
    try FileHandle.standardOutput.write(
        contentsOf: encoder.encode(classifier.classify(text)) + Data("\n".utf8))
}

for text in arguments.dropFirst() {
    try show(Data(text.utf8))
}
if arguments.count == 1 {
    while let line = readLineBytes() { try show(line) }
}
