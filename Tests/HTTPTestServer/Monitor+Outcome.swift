package import Basics

/// What a test waited for did not come.
package struct WaitedInVain: Error, CustomStringConvertible {
    package let description: String
}

extension Monitor {
    /// Waits on a thread of its own until `body` answers something; throws `WaitedInVain` after two minutes, so that a test
    /// whose event never comes fails, and ends.
    package func outcome<R: Sendable>(
        of what: String, _ body: @escaping @Sendable (inout State) -> R?
    ) async throws -> R {
        try await BlockingBridge.offload(name: "test-wait") {
            self.wait(seconds: 120, body).map { .success($0) }
                ?? .failure(WaitedInVain(description: "\(what) did not come within 120 s"))
        }
    }
}
