internal import COpenSSL

extension SealingError {
    /// What the library says went wrong since its queue of errors was last emptied; empties it.
    static func library(
        _ message: String, code: Code = .libraryFailure, fileID: String = #fileID, line: UInt32 = #line
    ) -> SealingError {
        let reasons = drainLibraryErrors()
        let text = reasons.isEmpty ? message : "\(message): \(reasons.joined(separator: "; "))"
        return SealingError(code, text, fileID: fileID, line: line)
    }

    /// Empties this thread's queue of library errors and returns their texts, oldest first.
    @discardableResult
    static func drainLibraryErrors() -> [String] {
        var reasons: [String] = []
        while true {
            let number = ERR_get_error()
            if number == 0 { return reasons }
            if let reason = unsafe ERR_reason_error_string(number) {
                reasons.append(unsafe String(cString: reason))
            } else {
                reasons.append("error \(number)")
            }
        }
    }
}
