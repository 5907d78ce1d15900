internal import GRPCCore
internal import Velero
internal import VeleroProtocol

/// Tells Velero what the executable serves. What it answers is registered when Velero's server starts, or keeps it from
/// starting.
struct PluginListerService: Generated_PluginLister.SimpleServiceProtocol {
    /// What Velero runs when it wants one of the plugins: our own absolute path.
    let command: String

    func listPlugins(request: Generated_Empty, context: ServerContext) async throws -> Generated_ListPluginsResponse {
        var response = Generated_ListPluginsResponse()
        // Velero calls actions of a kind in the order of this list; Go's plugins sort it.
        response.plugins = PluginName.allCases.map { name in
            var plugin = Generated_PluginIdentifier()
            plugin.command = command
            plugin.kind = name.kind.rawValue
            plugin.name = name.rawValue
            return plugin
        }
        return response
    }
}
