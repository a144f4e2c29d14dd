// swift-tools-version: 5.9
import PackageDescription

let package = Package(
    name: "classify",
    platforms: [.macOS(.v13), .iOS(.v15)],
    dependencies: [
        .package(
            url: "https://github.com/microsoft/onnxruntime-swift-package-manager", exact: "1.20.0")
    ],
    targets: [
        .executableTarget(
            name: "classify",
            dependencies: [
                .product(name: "onnxruntime", package: "onnxruntime-swift-package-manager")
            ])
    ])
