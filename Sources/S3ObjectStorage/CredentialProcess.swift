internal import Basics
internal import ObjectStorage

/// Runs a profile's `credential_process` and reads the credentials that it prints.
enum CredentialProcess {
    /// Bytes of output that are taken.
    private static let maximumBytes = 64 << 10

    /// The credentials that `command` prints. It runs by the shell on a thread of its own, with our error output, and
    /// is killed after `timeoutSeconds`. Throws `.expiredCredentials`; no message holds the command or its output.
    static func run(
        _ command: String, profile: String, environment: [String: String], clock: any WallClock,
        timeoutSeconds: Int = 60
    ) async throws(ObjectStorageError) -> AWSCredentials {
        let output: [UInt8]
        do {
            output = try await BlockingBridge.offload(name: "credentials") {
                Result {
                    try ChildProcess.output(
                        of: "/bin/sh", ["-c", command], environment: environment, seconds: timeoutSeconds,
                        maximumBytes: maximumBytes)
                }
            }
        } catch {
            throw ObjectStorageError(
                .expiredCredentials,
                "the credential_process of profile \(profile) failed: \(error); run it by hand to see why",
                cause: error)
        }
        return try CredentialDocument.parse(output, from: "the credential_process of profile \(profile)")
    }
}
