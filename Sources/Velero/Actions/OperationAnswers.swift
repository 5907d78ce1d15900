internal import Kubernetes
internal import Logging

/// What the actions answer for operations. Nothing is in memory: the identifier says what to look at.
enum OperationAnswers {
    /// How far `operation` of the Backup or Restore in `run` is, for an action whose operations are of `kinds`. This
    /// version of Becalm does all its work within the call, so whatever it is asked about was begun by another one; Velero
    /// would wait for its timeout if the answer were anything but the end. Never an error: a run that cannot be read is
    /// not compared.
    static func progress(_ operation: String, of run: [UInt8], kinds: Set<OperationIdentifier.Kind>) -> OperationStatus
    {
        let identifier: OperationIdentifier
        do throws(OperationIdentifier.Malformed) {
            identifier = try OperationIdentifier(parsing: operation)
        } catch {
            return OperationStatus(.failed(error.message))
        }
        let subject = identifier.subject
        let place = subject.namespace.isEmpty ? subject.name : "\(subject.namespace)/\(subject.name)"
        guard kinds.contains(identifier.kind) else {
            return OperationStatus(
                .failed("the operation \(identifier.kind.rawValue) of \(subject.resource) \(place) is another action's")
            )
        }
        let uid = (try? ActionItem.untyped(run, "the run").uid) ?? ""
        guard uid.isEmpty || identifier.run == uid else {
            return OperationStatus(
                .failed(
                    "the operation \(identifier.kind.rawValue) of \(subject.resource) \(place) belongs to another run, "
                        + "\(identifier.run)"))
        }
        return OperationStatus(
            .failed(
                "nothing is known of the operation \(identifier.kind.rawValue) of \(subject.resource) \(place): it was begun "
                    + "by another version of Becalm; run that version, or back up again"))
    }

    /// Asks an operation to end. One that nobody knows, or that no text of ours names, is not running: that is what the
    /// caller wants, so it succeeds.
    static func cancel(_ operation: String, _ logger: Logger) {
        logger.info(
            "nothing to cancel: the operation is not running", metadata: ["operation": "\(operation.prefix(200))"])
    }
}
