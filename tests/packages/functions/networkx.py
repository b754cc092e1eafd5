import networkx as nx


def call() -> object:
    """Find shortest paths and components of a graph."""
    graph = nx.Graph()
    graph.add_weighted_edges_from([("a", "b", 1), ("b", "c", 2), ("a", "c", 9), ("x", "y", 1)])
    order = list(nx.topological_sort(nx.DiGraph([(1, 2), (2, 3)])))
    return nx.shortest_path(graph, "a", "c", "weight"), [sorted(one) for one in nx.connected_components(graph)], order
