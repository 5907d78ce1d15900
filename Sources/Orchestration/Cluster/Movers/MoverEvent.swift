/// What movers come to, for whoever watches.
package enum MoverEvent: Sendable {
    /// What keeps one from beginning.
    case waiting(claim: String, reason: String)
    /// How far one is.
    case progress(claim: String, MoverProgress)
    /// One has ended.
    case ended(claim: String, result: MoverResult)
    /// Something that a user should know.
    case remark(String)
}
