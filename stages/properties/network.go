package properties

import (
	"sallyport/messages/qube"
)

// network is how a qube reaches others. The rules of netvm are asked of the default, too, when it is reset.
var network = []*Property{
	{
		Name: Netvm, Of: []qube.Class{qube.AppVM, qube.StandaloneVM, qube.DispVM}, Type: vm, Load: Referring,
		asSystem: DefaultNetvm,
		rules:    []rule{localQube, aNetwork, noLoop, runningNetwork},
		effects:  []effect{connect},
		Help:     "Qube that provides network access.",
	},
	{
		Name: Netvm, Of: []qube.Class{qube.TemplateVM}, Type: vm, Load: Referring,
		byDefault: none,
		rules:     []rule{localQube, aNetwork, noLoop, runningNetwork},
		effects:   []effect{connect},
		Help:      "Qube that provides network access; templates have none by default.",
	},
	{
		Name: ProvidesNetwork, Of: ofLocal, Type: boolean, Load: Basic,
		byDefault: always(no),
		rules:     []rule{networkUnused},
		effects:   []effect{mirrorServicevm, tell(icon), ifChanged(tell(gateway), tell(gateway6))},
		Help:      "Qube can act as network provider for others.",
	},
	{
		Name: ip, Of: ofLocal, Type: ipv4, Load: Basic,
		byDefault: ipOf,
		effects:   []effect{ifChanged(ifProviding(tell(gateway)), tell(visibleIP), tellClients(visibleGateway))},
		Help:      "IPv4 address of the qube.",
	},
	{
		Name: ip6, Of: ofLocal, Type: ipv6, Load: Basic,
		byDefault: ip6Of,
		effects:   []effect{onSet(ifChanged(ifProviding(tell(gateway6)), tell(visibleIP6), tellClients(visibleGateway6)))},
		Help:      "IPv6 address of the qube.",
	},
	{
		Name: named("mac"), Of: ofLocal, Type: str, Load: Basic,
		byDefault: always("00:16:3e:5e:6c:00"),
		normal:    lowerCase,
		rules:     []rule{hardwareAddress},
		Help:      "MAC address of the virtual network card.",
	},
	{
		Name: named("dns"), Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: nameservers,
		Help:      "Space-separated DNS resolver addresses given to the qube.",
	},
	{
		Name: gateway, Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: ifProvides(same(visibleIP)),
		Help:      "IPv4 address that clients of this qube use as gateway.",
	},
	{
		Name: gateway6, Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: ifProvides(ifIPv6(same(visibleIP6))),
		Help:      "IPv6 gateway address for clients of this qube.",
	},
	{
		Name: visibleIP, Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: fake("net.fake-ip", same(ip)),
		Help:      "IPv4 address as the qube sees it.",
	},
	{
		Name: visibleIP6, Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: same(ip6),
		Help:      "IPv6 address as the qube sees it.",
	},
	{
		Name: named("visible_netmask"), Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: fake("net.fake-netmask", netmask),
		Help:      "Netmask as the qube sees it.",
	},
	{
		Name: visibleGateway, Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: fake("net.fake-gateway", ofNetvm(gateway)),
		Help:      "Gateway address as the qube sees it.",
	},
	{
		Name: visibleGateway6, Of: ofLocal, Type: str, Load: Basic,
		set:       computed,
		byDefault: ifIPv6(ofNetvm(gateway6)),
		Help:      "IPv6 gateway as the qube sees it.",
	},
}
