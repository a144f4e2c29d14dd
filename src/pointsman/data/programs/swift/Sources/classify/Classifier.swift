import Foundation
import OnnxRuntimeBindings

/// The labels that apply to a text, and each label's probability.
struct Classification: Encodable {
    let labels: [String]
    let scores: [String: Float]
}

/// A text classifier in one ONNX file.
final class Classifier {
    private let environment: ORTEnv
    private let session: ORTSession
    private var names: [String] = []

    init(path: String) throws {
        environment = try ORTEnv(loggingLevel: .warning)
        let options = try ORTSessionOptions()
        try options.setIntraOpNumThreads(1)  // the model is too small to share out
        session = try ORTSession(env: environment, modelPath: path, sessionOptions: options)
        names = try run(Data(), ["names"])["names"]!.tensorStringData()
    }

    func classify(_ text: Data) throws -> Classification {
        let outputs = try run(text, ["scores", "labels"])
        let data = try outputs["scores"]!.tensorData() as Data
        let values = data.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        return Classification(
            labels: try outputs["labels"]!.tensorStringData(),
            scores: Dictionary(uniqueKeysWithValues: zip(names, values)))
    }

    private func run(_ text: Data, _ outputs: Set<String>) throws -> [String: ORTValue] {
        let input = try ORTValue(
            tensorData: NSMutableData(data: text), elementType: .uInt8,
            shape: [NSNumber(value: text.count)])
        return try session.run(
            withInputs: ["text": input], outputNames: outputs, runOptions: nil)
    }
}
