internal import Kubernetes
internal import Logging

/// What the actions answer for operations. Nothing is in memory: the identifier says what to look at.
enum OperationAnswers {
    /// Why an id is not to be answered for: it says so as the operation's end.
    struct Refusal: Error {
        var status: OperationStatus
        init(_ message: String) { status = OperationStatus(.failed(message)) }
    }

    /// How far `operation` of the Backup or Restore in `run` is, for an action that does all its work within the call:
    /// whatever it is asked about was begun by another version; Velero would wait for its timeout if the answer were
    /// anything but the end. Never an error.
    static func progress(_ operation: String, of run: [UInt8], kinds: Set<OperationIdentifier.Kind>) -> OperationStatus
    {
        do throws(Refusal) {
            return unknown(try identify(operation, of: run, kinds: kinds))
        } catch {
            return error.status
        }
    }

    /// What `operation` of the Backup or Restore in `run` names, for an action whose operations are of `kinds`. A run that
    /// cannot be read is not compared.
    static func identify(
        _ operation: String, of run: [UInt8], kinds: Set<OperationIdentifier.Kind>
    ) throws(Refusal) -> OperationIdentifier {
        let identifier: OperationIdentifier
        do throws(OperationIdentifier.Malformed) {
            identifier = try OperationIdentifier(parsing: operation)
        } catch {
            throw Refusal(error.message)
        }
        let subject = identifier.subject
        let place = place(subject)
        guard kinds.contains(identifier.kind) else {
            throw Refusal(
                "the operation \(identifier.kind.rawValue) of \(subject.resource) \(place) is another action's")
        }
        let uid = (try? ActionItem.untyped(run, "the run").uid) ?? ""
        guard uid.isEmpty || identifier.run == uid else {
            throw Refusal(
                "the operation \(identifier.kind.rawValue) of \(subject.resource) \(place) belongs to another run, "
                    + "\(identifier.run)")
        }
        return identifier
    }

    private static func place(_ subject: ResourceIdentifier) -> String {
        subject.namespace.isEmpty ? subject.name : "\(subject.namespace)/\(subject.name)"
    }

    /// What is answered for an operation of which nothing is left in the cluster.
    static func unknown(_ identifier: OperationIdentifier) -> OperationStatus {
        let subject = identifier.subject
        return OperationStatus(
            .failed(
                "nothing is known of the operation \(identifier.kind.rawValue) of \(subject.resource) \(place(subject)): its "
                    + "Lease is gone, or another version of Becalm began it; run that version, or do it again"))
    }

    /// Asks an operation to end. One that nobody knows, or that no text of ours names, is not running: that is what the
    /// caller wants, so it succeeds.
    static func cancel(_ operation: String, _ logger: Logger) {
        logger.info(
            "nothing to cancel: the operation is not running", metadata: ["operation": "\(operation.prefix(200))"])
    }
}
