plugins {
    kotlin("jvm") version "2.1.0"
    application
}

repositories { mavenCentral() }

dependencies { implementation("com.microsoft.onnxruntime:onnxruntime:1.22.0") }

kotlin { jvmToolchain(17) }

application { mainClass = "ClassifyKt" }

// So that `gradle run` passes its standard input on.
tasks.named<JavaExec>("run") { standardInput = System.`in` }
