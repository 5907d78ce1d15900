/// Truth as Go's `strconv.ParseBool` reads it, which is how Velero and its plugins read their configuration.
enum GoBool {
    /// Nil for any other word.
    static func parse(_ text: String) -> Bool? {
        switch text {
        case "1", "t", "T", "true", "TRUE", "True": true
        case "0", "f", "F", "false", "FALSE", "False": false
        default: nil
        }
    }
}
