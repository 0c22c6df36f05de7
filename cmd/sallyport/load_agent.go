package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/spf13/cobra"

	"sallyport/internal/endpoint"
	"sallyport/internal/loadtest/drive"
	"sallyport/internal/loadtest/fleet"
	"sallyport/internal/loadtest/measure"
	"sallyport/internal/loadtest/scenario"
)

// agentOptions are the flags of sallyport load agent.
type agentOptions struct {
	listen, cert, key, ca           string
	targetCert, targetKey, targetCA string
}

func newLoadAgent(stderr io.Writer) *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent --listen ADDR --cert FILE --key FILE --ca FILE",
		Short: "Make loads together with other machines, as sallyport load run --agents tells",
		Long: `Wait for a coordinator, which is sallyport load run --agents on some machine, and make the share of a load that it asks
for, one load at a time. Both prove who they are, over TLS 1.3. Whoever has a certificate of a client that an authority in
--ca has signed can have this machine make any load on whatever it can reach: let that authority sign for coordinators alone.

A socket that a scenario names, or an address, is that which this machine knows by that name. Scenarios come along with
their files, but for certificates and keys: towards a target over TLS, this machine is who --target-cert says.

Exit codes: 0 told to stop; 2 usage, a file that is no good, or an address that cannot be listened at.`,
		Example: `  sallyport load agent --listen :8644 --cert agent.pem --key agent.key --ca ca.pem`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			a, err := newAgent(o, stderr)
			if err != nil {
				return err
			}
			// A coordinator whose machine has gone without a word is silent; this finds out whoever is before he has said anything.
			listen := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 15 * time.Second, Count: 3}}
			l, err := listen.Listen(context.Background(), "tcp", o.listen)
			if err != nil {
				return fail(exitUsage, "--listen: %v", err)
			}
			raiseDescriptors()
			ctx, stop := untilTold()
			defer stop()
			a.Tell("waits for coordinators at " + l.Addr().String())
			if err := a.Serve(ctx, l); err != nil {
				return fail(exitUsage, "--listen: %v", err)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.listen, "listen", "", "`ADDR` to wait at: [HOST]:PORT")
	f.StringVar(&o.cert, "cert", "", "PEM `FILE` of the certificate by which coordinators know this machine")
	f.StringVar(&o.key, "key", "", "PEM `FILE` of its key")
	f.StringVar(&o.ca, "ca", "", "PEM `FILE` of the authorities that sign the certificates of coordinators")
	f.StringVar(&o.targetCert, "target-cert", "", "PEM `FILE` of the certificate by which targets over TLS know this machine")
	f.StringVar(&o.targetKey, "target-key", "", "PEM `FILE` of its key")
	f.StringVar(&o.targetCA, "target-ca", "", "PEM `FILE` of the authorities that sign the certificates of targets (default the system's)")
	return cmd
}

// newAgent reads what an agent needs.
func newAgent(o agentOptions, stderr io.Writer) (*fleet.Agent, error) {
	switch {
	case o.listen == "":
		return nil, errors.New("--listen is the address to wait at: [HOST]:PORT")
	case o.cert == "" || o.key == "" || o.ca == "":
		return nil, errors.New("--cert, --key and --ca are the files by which coordinators know us, and we know them")
	case (o.targetCert == "") != (o.targetKey == ""):
		return nil, errors.New("--target-cert and --target-key belong together")
	case o.targetCA != "" && o.targetCert == "":
		return nil, errors.New("--target-ca is for targets that know us by --target-cert")
	}
	certificate, err := identity(o.cert, o.key)
	if err != nil {
		return nil, err
	}
	coordinators, err := authorities(o.ca)
	if err != nil {
		return nil, err
	}
	a := &fleet.Agent{TLS: endpoint.ServerTLS(certificate, coordinators), Checks: checks, Identity: o.identity}
	if o.targetCert != "" {
		if _, err := o.identity("host:1", ""); err != nil {
			return nil, fail(exitUsage, "--target-cert, --target-key, --target-ca: expected %v", err)
		}
	}
	a.Tell = func(text string) { fmt.Fprintf(stderr, "sallyport: %s\n", escape([]byte(text), "")) }
	return a, nil
}

// identity is a scenario.Identity.
func (o agentOptions) identity(addr, name string) (*tls.Config, error) {
	if o.targetCert == "" {
		return nil, errors.New("an agent that has --target-cert and --target-key for it, since no certificate comes along")
	}
	c, err := scenario.ClientTLS(addr, o.targetCert, o.targetKey, o.targetCA, name)
	return c, errors.Unwrap(err)
}

// fleetFlags are the flags of sallyport load run that are about agents.
type fleetFlags struct {
	agents        []string
	cert, key, ca string
}

func (o *fleetFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringSliceVar(&o.agents, "agents", nil, "have agents at `HOST:PORT,...` make the load together, instead of this machine; see sallyport load agent")
	f.StringVar(&o.cert, "agent-cert", "", "PEM `FILE` of the certificate by which agents know us")
	f.StringVar(&o.key, "agent-key", "", "PEM `FILE` of its key")
	f.StringVar(&o.ca, "agent-ca", "", "PEM `FILE` of the authorities that sign the certificates of agents (default the system's)")
}

// maker makes a load, as drive.Run does.
type maker func(context.Context, *scenario.Scenario, drive.Options) (*measure.Result, error)

// maker gives what makes the load of a scenario: this machine, or agents, which get it packed.
func (o *fleetFlags) maker(packed *scenario.Packed) (maker, error) {
	if len(o.agents) == 0 {
		if o.cert != "" || o.key != "" || o.ca != "" {
			return nil, errors.New("--agent-cert, --agent-key and --agent-ca are for --agents")
		}
		return drive.Run, nil
	}
	if o.cert == "" || o.key == "" {
		return nil, errors.New("--agent-cert and --agent-key are the files by which agents know us")
	}
	for _, addr := range o.agents {
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return nil, fmt.Errorf("--agents: expected HOST:PORT,..., not %s", addr)
		}
	}
	config, err := scenario.ClientTLS(o.agents[0], o.cert, o.key, o.ca, "")
	if err != nil {
		return nil, fail(exitUsage, "--agent-cert, --agent-key, --agent-ca: %v", err)
	}
	config.ServerName = "" // each agent has its own
	return (&fleet.Coordinator{Agents: o.agents, TLS: config, Scenario: packed}).Run, nil
}
