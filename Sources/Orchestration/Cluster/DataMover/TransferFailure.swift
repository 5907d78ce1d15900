internal import Kubernetes

/// Why a transfer cannot be what it is asked to be, whoever tries again.
struct TransferFailure: Error, Sendable, CustomStringConvertible {
    /// One line: what, of what, and what the user can do.
    let description: String

    init(_ description: String) { self.description = description }

    /// What an error says that no time takes away; nil for one that may pass.
    ///
    /// What the cluster refuses (a verb that is not granted, an object that it does not take) and what the repository refuses
    /// are told at once: Velero's backup says it then, and not hours later that time was up.
    init?(lasting error: any Error) {
        switch error {
        case let error as TransferFailure: self = error
        case let error as KubernetesError:
            switch error.code {
            case .forbidden, .invalid, .unsupported: self.init(error.message)
            default: return nil
            }
        default:
            let error = JourneyError(error)
            switch error.status {
            case .noRepository, .wrongKey, .integrity, .credentialsRefused, .usage: self.init(error.message)
            default:
                guard error.kind == "not_permitted" else { return nil }
                self.init(error.message)
            }
        }
    }
}

/// How a part of the work stands.
enum Readiness: Sendable, Equatable {
    case ready
    /// It goes on by itself, and this is what it waits for.
    case waits(String)
}
