/// Where in the source an error was made; for logs, not for users.
package struct SourceLocation: Sendable, CustomStringConvertible {
    /// `Module/File.swift`.
    package let fileID: String
    /// One-based line.
    package let line: UInt32

    /// Captures the caller's position.
    package init(fileID: String = #fileID, line: UInt32 = #line) {
        self.fileID = fileID
        self.line = line
    }

    package var description: String { "\(fileID):\(line)" }
}
